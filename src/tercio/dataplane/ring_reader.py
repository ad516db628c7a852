"""Read the rings of all seats, in turn, and count what was lost.

Nothing that is read is trusted: it may have been overwritten during the copy, or written by a
process that is broken. A batch that cannot be right is counted and its ring is read on from its
head.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import length_hint
from typing import Final, Protocol

from tercio.dataplane.frames import HEADER, IS_PARCEL, NOT_OWN, PARCEL, RUN, SIZE
from tercio.dataplane.rings import MARKS, POSITION_LIMIT, Rings

CHUNK: Final = 64 << 10
"""Bytes that are copied out of a ring at once, more than the largest batch."""

_STRIDE: Final = 16  # messages between two looks at the clock
_SHARES: Final = (7, 4, 2, 1)  # eighths of a ring: nearer to its head if the writer is too fast
_TRIES: Final = 50  # looks at a batch whose sum is wrong, until it is given up
_HEADER_SIZE: Final = HEADER.size
_RUN_SIZE: Final = RUN.size
_SIZE: Final = SIZE.size
_UNPACK_HEADER: Final = HEADER.unpack_from
_UNPACK_RUN: Final = RUN.unpack_from
_UNPACK_SIZE: Final = SIZE.unpack_from

Routes = Mapping[bytes, Callable[[bytes], None] | None]


class _Spoilt(Exception):
    """The runs of a batch do not add up to it."""


class Sink(Protocol):
    """Where messages go."""

    @property
    def routes(self) -> Routes:
        """Who takes the body of a message of a topic."""

    @property
    def own_routes(self) -> Routes:
        """The same for messages of this seat."""

    @property
    def wants_own(self) -> bool:
        """Whether messages of this seat are to be read at all."""

    def lost(self, count: int, sender: int) -> None:
        """``count`` messages of a seat will not come; 0 if nobody can tell how many."""


class RingReader:
    """One reader's place in all rings. It begins where their heads are."""

    def __init__(self, rings: Rings, seat: int) -> None:
        self._rings = rings
        self._own_seat = seat
        self._words = rings.words
        self.cursors: list[int] = rings.head_words.tolist()
        """How far each ring was copied."""
        # After the heads: a batch that is published meanwhile is behind what we expect then, which
        # is no gap. Before them it would be taken for lost.
        self._expected = rings.words[rings.sequences : rings.sequences + rings.seats].tolist()
        self._behind: list[int] = []
        self._seat = 0
        self._chunk = b""
        self._chunk_start = 0  # its position in the ring
        self._at = self._chunk_end = 0  # what comes next, and where the chunk ends
        self._batch_end = 0  # of the batch that is being read
        self._topic, self._flags = b"", 0  # of the run that is being read
        self._sizes: Iterator[int] = iter(())  # of its bodies that are left
        self._tries = 0
        self._is_lapped = False
        self.is_paused = False
        self.received: int = 0
        self.lost: int = 0
        self.bad: int = 0

    def has_more(self, sink: Sink) -> bool:
        """Whether there is something to read, and it is not paused."""
        if self.is_paused:
            return False
        if self._is_in_chunk():
            return True
        heads = self._rings.head_words.tolist()
        if not sink.wants_own:
            self._pass_own(heads)
        return heads != self.cursors

    def _pass_own(self, heads: list[int]) -> None:
        seat = self._own_seat
        self.cursors[seat] = heads[seat]
        self._expected[seat] = self._words[self._rings.sequences + seat]

    def done(self) -> list[int]:
        """How far each ring was given to the sink; parcels are wanted until then."""
        done = self.cursors.copy()
        if self._is_in_chunk():
            done[self._seat] = self._chunk_start
        return done

    def drain(self, sink: Sink, until: float) -> bool:
        """Give messages to ``sink`` until ``until`` (monotonic seconds).

        False if there are no more, or it was paused. What ``sink`` raises goes through, and that
        message does not come again.
        """
        while not self.is_paused:
            if not self._is_in_chunk() and not self._next_chunk(sink):
                return False
            if not self._parse(sink, until) or time.monotonic() >= until:
                return not self.is_paused
        return False

    def _is_in_chunk(self) -> bool:
        # The last bodies of a chunk may be empty, and then begin where it ends.
        return self._at < self._chunk_end or length_hint(self._sizes) > 0

    def _next_chunk(self, sink: Sink) -> bool:
        if self._take_from_behind(sink):
            return True
        rings = self._rings
        heads = rings.head_words.tolist()
        cursors = self.cursors
        if not sink.wants_own:
            self._pass_own(heads)
        if heads == cursors:
            return False
        # Each gets its turn, whoever is in front.
        self._behind = [seat for seat, head in enumerate(heads) if head != cursors[seat]]
        return self._take_from_behind(sink)

    def _take_from_behind(self, sink: Sink) -> bool:
        behind = self._behind
        while behind:
            seat = behind.pop()
            for share in _SHARES:
                if self._take(seat, sink, share):
                    return True
                if not self._is_lapped:
                    break
        return False

    def _take(self, seat: int, sink: Sink, share: int) -> bool:
        """Copy the next complete batches of a ring; False if there were none.

        If it is lapped, the next try begins within the newest ``share`` eighths of the ring.
        """
        self._is_lapped = False
        rings, words = self._rings, self._words
        capacity = rings.capacity
        cursor = self.cursors[seat]
        head: int = words[rings.heads + seat]
        size = head - cursor
        if size <= 0:
            if size:  # it went back: the primary made a broken ring anew
                self.cursors[seat] = head
                self._expected[seat] = words[rings.sequences + seat]
                sink.lost(0, seat)
            return False
        chunk = self._copy(seat, cursor, min(size, CHUNK)) if size <= capacity else b""
        # After the copy: what was overwritten during it shows here.
        if not chunk or words[rings.reserves + seat] - cursor > capacity:
            self._is_lapped = True
            self._jump(seat, words[rings.heads + seat], share)
            return False
        end = self._check(chunk, cursor)
        if not end:
            self._refuse(seat, head)
            return False
        self._tries = 0
        self._seat, self._chunk, self._chunk_start = seat, chunk, cursor
        self._at = self._batch_end = 0
        self._chunk_end = end
        self.cursors[seat] = cursor + end
        return True

    def _copy(self, seat: int, position: int, size: int) -> bytes:
        data, capacity = self._rings.data[seat], self._rings.capacity
        at = position % capacity
        if at + size <= capacity:
            return bytes(data[at : at + size])
        return b"".join((data[at:], data[: at + size - capacity]))

    def _check(self, chunk: bytes, cursor: int) -> int:
        """Where the last complete and credible batch of a chunk ends; 0 if the first is none."""
        at, size = 0, len(chunk)
        is_careful = self._rings.is_careful
        while size - at >= _HEADER_SIZE:
            position, first, length, count, total = _UNPACK_HEADER(chunk, at)
            end = at + _HEADER_SIZE + length
            is_credible = (
                position == cursor + at and first < POSITION_LIMIT and 0 < count * _SIZE < length
            )
            if not is_credible or end > size:
                break
            if is_careful and zlib.crc32(memoryview(chunk)[at + _HEADER_SIZE : end]) != total:
                break
            at = end
        return at

    def _refuse(self, seat: int, head: int) -> None:
        """What is there is no batch."""
        if self._rings.is_careful and self._tries < _TRIES:
            self._tries += 1  # the head was seen before the bytes, which are on their way
            return
        self._tries = 0
        self.bad += 1
        self.cursors[seat] = head  # how many are lost shows with the next batch

    def _jump(self, seat: int, head: int, share: int) -> None:
        """Go on at the oldest batch of the newest eighths, which are not overwritten at once.

        How many were lost is known when it is read.
        """
        rings, words = self._rings, self._words
        safe = words[rings.reserves + seat] - rings.capacity * share // 8
        marks = words[rings.marks + seat * MARKS : rings.marks + (seat + 1) * MARKS].tolist()
        self.cursors[seat] = min((m for m in marks if safe <= m < head), default=head)

    def _parse(self, sink: Sink, until: float) -> bool:
        """Give the messages of the chunk to the sink; False if time was up first."""
        chunk, at, end = self._chunk, self._at, self._chunk_end
        is_own = self._seat == self._own_seat
        routes = sink.own_routes if is_own else sink.routes
        left = _STRIDE  # messages until we look at the clock
        try:
            while True:
                count = length_hint(self._sizes)
                if not count:
                    if at >= end:
                        return True
                    at = self._open_run(sink, chunk, at)
                    count = length_hint(self._sizes)
                sizes, flags = self._sizes, self._flags
                deliver = routes[self._topic]
                if deliver is None or (flags & NOT_OWN and is_own):
                    at += sum(sizes)
                    continue
                if flags & IS_PARCEL:
                    deliver, left = partial(self._unpack, sink, deliver), 1
                for size in islice(sizes, left):
                    start = at
                    at += size
                    deliver(chunk[start:at])
                    if self.is_paused:
                        return False
                left -= count
                if left <= 0:
                    if time.monotonic() >= until:
                        return False
                    left = _STRIDE
        except (_Spoilt, struct.error):
            self.bad += 1
            at = end  # it does not add up: the rest of the chunk is left out
            self._sizes = iter(())
            sink.lost(0, self._seat)
        finally:
            # Also when a receiver raised: what it was given does not come again.
            self._at = at
        return True

    def _open_run(self, sink: Sink, chunk: bytes, at: int) -> int:
        """Begin a run, and a batch if the last one is over: where its first body is."""
        if at == self._batch_end:
            self._open(sink, chunk, at)
            at += _HEADER_SIZE
        count, words, flags = _UNPACK_RUN(chunk, at)
        table = at + _RUN_SIZE + words
        at = table + count * _SIZE
        if not count or at > self._batch_end:
            raise _Spoilt
        sizes: Sequence[int]
        if count == 1:
            sizes = _UNPACK_SIZE(chunk, table)
            total = sizes[0]
        else:
            sizes = memoryview(chunk)[table:at].cast("I").tolist()
            total = sum(sizes)
        if at + total > self._batch_end:
            raise _Spoilt
        self._topic, self._flags, self._sizes = chunk[table - words : table], flags, iter(sizes)
        return at

    def _open(self, sink: Sink, chunk: bytes, at: int) -> None:
        """Begin a batch."""
        _, first, length, count, _ = _UNPACK_HEADER(chunk, at)
        self.received += count
        expected, seat = self._expected, self._seat
        gap = first - expected[seat]
        expected[seat] = first + count
        if gap > 0:
            self.lost += gap
            sink.lost(gap, seat)
        self._batch_end = at + _HEADER_SIZE + length

    def _unpack(self, sink: Sink, deliver: Callable[[bytes], None], body: bytes) -> None:
        """Give what a parcel says to ``deliver``."""
        found = None
        parcels = self._rings.parcels
        if len(body) == PARCEL.size and parcels is not None:
            position, size, total = PARCEL.unpack(body)
            check = total if self._rings.is_careful else None
            found = parcels.read(self._seat, position, size, check)
        if found is None:
            self.received -= 1
            self.lost += 1
            sink.lost(1, self._seat)
        else:
            deliver(found)
