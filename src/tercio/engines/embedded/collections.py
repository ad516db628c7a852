"""Parts under one key: the items of a queue, the members of a group, each with its own end.

    k KEY            tag, id, count, first, last, wake
    s ID i PART      end (0: never), payload
    s ID t END PART  -                          the parts that end, in the order of their ends

Parts are found by the id, not by the key: to remove a queue of any size is to forget its id, and
what it held is removed by the sweep, little by little. ``wake`` is where the key stands in the
index of ends: at the end of its first part that ends, or before it; 0 if none does.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from tercio.engines.embedded.records import (
    GARBAGE,
    ID,
    MAIN,
    PARTS,
    TIME,
    TIMES,
    Kind,
    next_number,
    payload_of,
)
from tercio.engines.embedded.table import Table, starting_with

_META: Final = struct.Struct(">QQQQd")
_MIDDLE: Final = 1 << 62  # numbers of items go up from here, and down for those put back


@dataclass(slots=True)
class Collection:
    """One queue or group, as long as a step looks at it. `save` ends every change."""

    table: Table
    key: bytes
    kind: Kind
    id: int
    count: int
    first: int
    last: int
    wake: float

    @classmethod
    def find(cls, table: Table, key: bytes, kind: Kind) -> Self | None:
        """What is there. Raises `WrongType`."""
        payload = payload_of(table.get(MAIN + key), key, kind, 0.0)
        return None if payload is None else cls(table, key, kind, *_META.unpack(payload))

    @classmethod
    def find_or_make(cls, table: Table, key: bytes, kind: Kind) -> Self:
        """What is there, or a new one, which is not stored yet. Raises `WrongType`."""
        found = cls.find(table, key, kind)
        if found is not None:
            return found
        return cls(table, key, kind, next_number(table), 0, _MIDDLE, _MIDDLE, 0.0)

    def parts(self) -> Iterator[tuple[bytes, float, bytes]]:
        """Part, end (0.0: never) and payload of each, in order; those that have ended too."""
        prefix = self._prefix(b"i")
        for key, raw in starting_with(self.table, prefix):
            yield key[len(prefix) :], TIME.unpack_from(raw)[0], raw[TIME.size :]

    def end_of(self, part: bytes) -> float | None:
        """When a part ends, 0.0 for never; None if it is not there."""
        raw = self.table.get(self._prefix(b"i") + part)
        return None if raw is None else TIME.unpack_from(raw)[0]

    def put(self, part: bytes, payload: bytes, end: float | None) -> None:
        """Add or replace a part."""
        old = self.end_of(part)
        if old is None:
            self.count += 1
        elif old:
            self.table.delete(self._prefix(b"t") + TIME.pack(old) + part)
        self.table.put(self._prefix(b"i") + part, TIME.pack(end or 0.0) + payload)
        if end is not None:
            self.table.put(self._prefix(b"t") + TIME.pack(end) + part, b"")
            if not self.wake or end < self.wake:
                self._wake_at(end)

    def remove(self, part: bytes, end: float) -> None:
        """Remove a part that is there."""
        self.table.delete(self._prefix(b"i") + part)
        if end:
            self.table.delete(self._prefix(b"t") + TIME.pack(end) + part)
        self.count -= 1

    def ended(self, now: float) -> Iterator[tuple[float, bytes]]:
        """End and name of each part that has ended."""
        prefix = self._prefix(b"t")
        for key, _ in starting_with(self.table, prefix):
            end: float = TIME.unpack_from(key, len(prefix))[0]
            if end > now:
                return
            yield end, key[len(prefix) + TIME.size :]

    def purge(self, now: float, most: int = 1 << 62) -> int:
        """Remove parts that have ended; the answer is how many."""
        gone = list(islice(self.ended(now), most))
        for end, part in gone:
            self.remove(part, end)
        return len(gone)

    def rewake(self) -> None:
        """Stand in the index where the next part ends."""
        prefix = self._prefix(b"t")
        key, _ = next(starting_with(self.table, prefix), (b"", b""))
        self._wake_at(TIME.unpack_from(key, len(prefix))[0] if key else 0.0)

    def save(self) -> None:
        """Store what changed; an empty one is not kept."""
        if self.count:
            meta = _META.pack(self.id, self.count, self.first, self.last, self.wake)
            self.table.put(MAIN + self.key, bytes((self.kind,)) + meta)
        else:
            self._wake_at(0.0)
            self.table.delete(MAIN + self.key)

    def forget(self) -> None:
        """Remove it with all its parts, which the sweep clears away."""
        self._wake_at(0.0)
        self.table.delete(MAIN + self.key)
        self.table.put(GARBAGE + ID.pack(self.id), b"")

    def _wake_at(self, time: float) -> None:
        if self.wake == time:
            return
        if self.wake:
            self.table.delete(TIMES + TIME.pack(self.wake) + self.key)
        if time:
            self.table.put(TIMES + TIME.pack(time) + self.key, b"")
        self.wake = time

    def _prefix(self, what: bytes) -> bytes:
        return PARTS + ID.pack(self.id) + what
