"""Hits of the period before now, exactly: a list that grows at one end and ends at the other.

    k KEY            tag, end, indexed, head, tail      see `records`
    s ID i NUMBER    moments, sums                      a chunk of `CHUNK` calls

The tail holds the last calls; a full one becomes a chunk when the next call comes. A call is its
moment and the sum of the hits before it, so that to count is to subtract, and what is over is found
by halving. However many hits there are, a call reads and writes a few kilobytes.
"""

import struct
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from tercio.engines.embedded.records import (
    GARBAGE,
    ID,
    MAIN,
    PARTS,
    Kind,
    body_of,
    kind_of,
    next_number,
    payload_of,
    store,
)
from tercio.engines.embedded.table import Table
from tercio.state.verbs import MovingWindow, Window

CHUNK: Final = 64
"""Calls of one chunk: 1 KiB, so that LMDB keeps it within a page."""

_HEAD: Final = struct.Struct(">6Q")
_WORD: Final = (1 << 64) - 1
_MOMENT: Final = 8  # bytes; as many as a sum
_PURGED: Final = 4  # chunks that one call removes, at most; it makes one, at most


def moving(table: Table, verb: MovingWindow, now: float) -> Window:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    payload = payload_of(raw, verb.key, Kind.MOVING, now)
    hits = Hits.parse(table, payload) if payload else Hits.none(table)
    hits.pass_over(now - verb.period)
    count, oldest = hits.count()
    is_allowed = count + verb.cost <= verb.limit
    if is_allowed and verb.cost:
        if raw is not None and not payload:
            forget_hits(table, raw)  # of the one that has ended
        # Never before the last: a clock that was set back between two runs keeps the order.
        moment = max(now, hits.moments[-1]) if hits.moments else now
        hits.add(moment, verb.cost)
        count += verb.cost
        oldest = moment if oldest is None else oldest
        store(table, verb.key, Kind.MOVING, hits.pack(), moment + verb.period, raw)
    return Window(is_allowed, count, 0.0 if oldest is None else oldest + verb.period - now)


def forget_hits(table: Table, raw: bytes) -> None:
    """Leave the chunks of a record that goes away to the sweep; ``raw``: any record."""
    if kind_of(raw) is Kind.MOVING and (chunks := ID.unpack_from(body_of(raw))[0]):
        table.put(GARBAGE + ID.pack(chunks), b"")


@dataclass(slots=True)
class Hits:
    """One moving window, as long as a step looks at it."""

    table: Table
    id: int
    """Of the chunks; 0 before the first one."""
    kept: int
    """The first chunk that is still stored."""
    first: int
    """The first one that counts."""
    next: int
    """What the next one will be."""
    over: int
    """Calls of the first one, or of the tail if there is none, that do not count any more."""
    total: int
    """Hits that were ever counted; it wraps around."""
    moments: "array[float]"
    """The tail's."""
    sums: "array[int]"

    @classmethod
    def none(cls, table: Table) -> "Hits":
        """Before the first hit."""
        return cls(table, 0, 0, 0, 0, 0, 0, array("d"), array("Q"))

    @classmethod
    def parse(cls, table: Table, payload: bytes) -> "Hits":
        """What `pack` made."""
        moments, sums = _columns(payload[_HEAD.size :])
        id_, kept, first, following, over, total = _HEAD.unpack_from(payload)
        return cls(table, id_, kept, first, following, over, total, moments, sums)

    def pack(self) -> bytes:
        """The record's payload."""
        head = _HEAD.pack(self.id, self.kept, self.first, self.next, self.over, self.total)
        return head + self.moments.tobytes() + self.sums.tobytes()

    def pass_over(self, moment: float) -> None:
        """Count none any more that came at ``moment`` or before. Changes nothing in the table."""
        low = high = self.first
        step = 1
        # Nearly always it is the first chunk: look there, then ever further, and then halve.
        while high < self.next and self._last_of(high) <= moment:
            low, high, step = high + 1, high + step, 2 * step
        high = min(high, self.next)
        while low < high:
            middle = (low + high) // 2
            if self._last_of(middle) <= moment:
                low = middle + 1
            else:
                high = middle
        if low > self.first:
            self.first, self.over = low, 0
        moments = self.moments if low == self.next else _columns(self._chunk(low))[0]
        self.over = max(self.over, bisect_right(moments, moment))

    def count(self) -> tuple[int, float | None]:
        """How many count, and the moment of the oldest; None if there is none."""
        moments, sums = self.moments, self.sums
        if self.first < self.next:
            moments, sums = _columns(self._chunk(self.first))
        if self.over == len(moments):
            return 0, None
        return (self.total - sums[self.over]) & _WORD, moments[self.over]

    def add(self, moment: float, cost: int) -> None:
        """Count ``cost`` hits, not before those that are there."""
        if self.first == self.next:
            del self.moments[: self.over]
            del self.sums[: self.over]
            self.over = 0
        if len(self.moments) == CHUNK:
            self.id = self.id or next_number(self.table)
            chunk = self.moments.tobytes() + self.sums.tobytes()
            self.table.put(self._key(self.next), chunk)
            self.next += 1
            del self.moments[:], self.sums[:]
        self.moments.append(moment)
        self.sums.append(self.total)
        self.total = (self.total + cost) & _WORD
        for number in range(self.kept, min(self.kept + _PURGED, self.first)):
            self.table.delete(self._key(number))
            self.kept = number + 1

    def _last_of(self, number: int) -> float:
        chunk = self._chunk(number)
        last: float = array("d", chunk[(CHUNK - 1) * _MOMENT : CHUNK * _MOMENT])[0]
        return last

    def _chunk(self, number: int) -> bytes:
        chunk = self.table.get(self._key(number))
        assert chunk is not None, "chunks from `kept` on are stored"
        return chunk

    def _key(self, number: int) -> bytes:
        return PARTS + ID.pack(self.id) + b"i" + ID.pack(number)


def _columns(body: bytes) -> "tuple[array[float], array[int]]":
    middle = len(body) // 2
    return array("d", body[:middle]), array("Q", body[middle:])
