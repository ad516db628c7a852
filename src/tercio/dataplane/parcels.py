"""Messages that are too large for a ring: they lie in a sparse file, and the ring says where.

Each seat has a span of the file, written by the holder of the seat alone. Nothing of it is mapped:
it is written and read by ``pwrite`` and ``pread``, so no process' address space or own memory grows
with what others send. What was put there stays for `HOLD` seconds, or until room is needed; then
``floor`` is raised, and after that the memory is given back. A reader looks at ``floor`` after its
copy, so it never takes what was overwritten meanwhile for a message.

Because the file has no name and belongs to all, a publisher that dies leaves nothing but the
memory, which the next holder of the seat or the primary gives back; what it sent can still be read.
"""

import mmap
import os
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from tercio.dataplane.segment import sealed_file
from tercio.errors import MessageTooLarge
from tercio.system import libc

LIMIT: Final = 64 << 20
"""Bytes of the largest message."""

SPAN: Final = 2 * LIMIT
"""Bytes that one publisher holds at most: the latest message fits in one piece in any case."""

HOLD: Final = 5.0
"""Seconds that a reader has to take a message, unless more than `SPAN` came after it."""

_PAGE: Final = 1 << 16  # the largest page of the systems that we know
_WRITE: Final = 1 << 20  # bytes a call


_WORDS: Final = 4
_FLOOR, _END, _IS_HELD = range(3)


class Parcels:
    """The file, as every process sees it.

    Words a seat: ``floor``, ``end``, and whether a process holds it. The holder writes them; while
    there is none, the primary may.
    """

    def __init__(self, descriptor: int, seats: int) -> None:
        self.descriptor = descriptor
        self._control = _round(seats * _WORDS * 8)
        self._memory = mmap.mmap(descriptor, self._control, mmap.MAP_SHARED)
        self._words = memoryview(self._memory).cast("Q")
        self.states: list[memoryview[int]] = [
            self._words[at : at + _WORDS] for at in range(0, seats * _WORDS, _WORDS)
        ]
        """The words of each seat."""
        self.hold = HOLD
        self._is_tuned = False
        self._left: dict[int, float] = {}  # by the dead: until when it is kept

    @classmethod
    def create(cls, seats: int) -> Self | None:
        """Make it for ``seats`` processes; None where files may not be that large."""
        try:
            size = _round(seats * _WORDS * 8) + seats * SPAN
            return cls(sealed_file("tercio-parcels", size, sparse=True), seats)
        except OSError:
            return None  # ulimit -f, or a file system without sparse files

    def write(self, seat: int, position: int, body: bytes) -> None:
        """Store a body. Raises `MessageTooLarge` where it cannot be stored."""
        self._tune()
        view, at = memoryview(body), self._place(seat, position)
        try:
            while view:
                done = os.pwrite(self.descriptor, view[:_WRITE], at)
                view, at = view[done:], at + done
        except OSError as error:
            raise MessageTooLarge(
                f"a message of {len(body)} bytes cannot be kept for its readers: {error.strerror}"
            ) from error

    def read(self, seat: int, position: int, size: int, total: int | None) -> bytes | None:
        """The body, or None if it is gone; ``total`` is its crc32 where stores need a check."""
        state = self.states[seat]
        if not (state[_FLOOR] <= position and position + size <= state[_END] and 0 < size <= LIMIT):
            return None
        self._tune()
        try:
            body = os.pread(self.descriptor, size, self._place(seat, position))
        except OSError:
            return None
        if state[_FLOOR] > position or len(body) != size:
            return None
        if total is not None and zlib.crc32(body) != total:
            return None
        return body

    def _tune(self) -> None:
        """Before the first large message: have their memory kept for the next."""
        if not self._is_tuned:
            self._is_tuned = True
            libc.keep_large_blocks()

    def give_back(self, seat: int, start: int = 0, end: int = SPAN) -> None:
        """Free what lies there, or all of a seat. Readers were told by ``floor`` before."""
        if not hasattr(mmap, "MADV_REMOVE"):
            return  # macOS: the span is written again, which bounds it as well
        while start < end:
            border = min(end, start - start % SPAN + SPAN)
            offset = self._place(seat, start)
            with suppress(OSError), mmap.mmap(self.descriptor, border - start, offset=offset) as it:
                it.madvise(mmap.MADV_REMOVE)
            start = border

    def release(self, seat: int) -> None:
        """Note that the seat's holder is dead. The primary calls it."""
        state = self.states[seat]
        floor, end = state[_FLOOR], state[_END]
        state[_IS_HELD] = 0
        if not 0 <= end - floor <= SPAN or end % _PAGE or floor % _PAGE or end >= 1 << 60:
            state[_FLOOR] = state[_END] = 0  # by a broken process
        elif floor != end:
            self._left[seat] = time.monotonic() + self.hold

    def tidy(self) -> None:
        """Give back what dead processes have left, when readers had their time for it.

        The primary calls it now and then. A seat with a new holder is that one's business.
        """
        now = time.monotonic()
        for seat, when in list(self._left.items()):
            state = self.states[seat]
            if state[_IS_HELD]:
                del self._left[seat]
            elif now >= when:
                del self._left[seat]
                state[_FLOOR] = state[_END]
                self.give_back(seat)

    def close(self) -> None:
        """Give up the descriptor."""
        for state in self.states:
            state.release()
        self._words.release()
        self._memory.close()
        os.close(self.descriptor)

    def _place(self, seat: int, position: int) -> int:
        return self._control + seat * SPAN + position % SPAN


@dataclass(frozen=True, slots=True)
class _Held:
    start: int
    end: int
    until: float
    named_at: int
    """Where in the ring the batch begins that names it."""


class ParcelWriter:
    """The holder of a seat. Not thread-safe by itself."""

    def __init__(self, parcels: Parcels, seat: int) -> None:
        self._parcels = parcels
        self._seat = seat
        self._state = parcels.states[seat]
        self._state[_IS_HELD] = 1
        self._held: deque[_Held] = deque()
        floor, end = self._state[_FLOOR], self._state[_END]
        if floor != end:  # of a holder that died
            self._held.append(_Held(floor, end, time.monotonic() + parcels.hold, -1))

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do, in monotonic seconds."""
        return self._held[0].until if self._held else None

    def wanted(self, slowest: int) -> int:
        """Bytes that a reader may want which has read our ring up to ``slowest``."""
        return sum(held.end - held.start for held in self._held if held.named_at >= slowest)

    def put(self, body: bytes, named_at: int) -> int:
        """Store a body and return its position. Raises `MessageTooLarge`."""
        position: int = self._state[_END]
        size = _round(len(body))
        if position % SPAN + size > SPAN:
            position += SPAN - position % SPAN  # in one piece: it is read and freed by one call
        end = position + size
        while self._held and end - self._state[_FLOOR] > SPAN:
            # Its memory stays for what comes: it would be had again page by page.
            self._state[_FLOOR] = self._held.popleft().end
        if not self._held:
            self._state[_FLOOR] = position
        self._state[_END] = end
        until = time.monotonic() + self._parcels.hold
        self._held.append(_Held(position, end, until, named_at))
        self._parcels.write(self._seat, position, body)
        return position

    def expire(self, slowest: int | None = None) -> None:
        """Free what was kept long enough, and is not wanted by a reader at ``slowest``."""
        now = time.monotonic()
        floor: int = self._state[_FLOOR]
        while self._held and self._held[0].until <= now:
            if slowest is not None and self._held[0].named_at >= slowest:
                return
            self._state[_FLOOR] = self._held.popleft().end
        if self._held:
            self._parcels.give_back(self._seat, floor, self._state[_FLOOR])
        elif floor != self._state[_FLOOR]:
            self._parcels.give_back(self._seat)  # with what `put` has left


def _round(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
