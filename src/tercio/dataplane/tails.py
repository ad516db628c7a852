"""The last of what each worker wrote, in memory that outlives it: for `tercio logs`.

One writer a seat, the worker; the primary reads, and believes nothing that it finds there. The
number of bytes that are about to be written is stored before them, that of those written after
them, so a reader knows what it has read whole.
"""

import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from tercio.dataplane.segment import sealed_file
from tercio.errors import CouldNotStart

SIZE: Final = 64 * 1024
"""Bytes that are kept of each process."""

_HEAD: Final = 64 * 1024  # a page, whatever its size, to map one part alone
_PART: Final = _HEAD + SIZE


class _Word(IntEnum):
    RESERVED = 0
    WRITTEN = 1
    SLOT = 2  # + 1; 0 is a seat that nobody wrote in
    INCARNATION = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """What `Tail.read` found."""

    text: bytes
    """Whole lines, but for one that is under way at the end."""
    end: int
    """Where to go on: how many bytes were ever written."""
    lost: int
    """Bytes that were overwritten before they were read."""


class Tail:
    """What one process wrote. The descriptor stays the caller's."""

    def __init__(self, fd: int, seat: int) -> None:
        self._memory = mmap.mmap(fd, _PART, mmap.MAP_SHARED, offset=seat * _PART)
        self._words: memoryview[int] = memoryview(self._memory)[:64].cast("Q")
        # Reentrant: a signal handler may log in the middle.
        self._lock = threading.RLock()
        self._end = 0
        self._is_mine = False
        _tails.add(self)

    def begin(self, slot: int, incarnation: int) -> None:
        """Write from now on, as the process that holds this seat."""
        self._end = 0
        self._words[_Word.WRITTEN] = self._words[_Word.RESERVED] = 0
        self._words[_Word.INCARNATION] = incarnation
        self._words[_Word.SLOT] = slot + 1
        self._is_mine = True

    def append(self, data: bytes) -> None:
        """Add ``data``; the oldest goes where there is no room."""
        if not self._is_mine:
            return  # a process that the worker forked
        with self._lock:
            start, self._end = self._end, self._end + len(data)
            if len(data) > SIZE:
                start, data = self._end - SIZE, data[-SIZE:]
            self._words[_Word.RESERVED] = self._end
            at = start % SIZE
            room = SIZE - at
            first, rest = data[:room], data[room:]
            self._memory[_HEAD + at : _HEAD + at + len(first)] = first
            self._memory[_HEAD : _HEAD + len(rest)] = rest
            self._words[_Word.WRITTEN] = self._end

    @property
    def slot(self) -> int | None:
        """Whose it is; None of an empty seat."""
        return self._words[_Word.SLOT] - 1 if self._words[_Word.SLOT] else None

    @property
    def incarnation(self) -> int:
        return self._words[_Word.INCARNATION]

    def read(self, since: int = 0) -> Piece:
        """What was written after byte ``since``, as far as it is still there."""
        end = self._words[_Word.WRITTEN]
        if since >= end:
            return Piece(b"", end, 0)
        ring = self._memory[_HEAD:]
        first = max(self._words[_Word.RESERVED] - SIZE, end - SIZE, since)
        if first >= end:
            return Piece(b"", end, end - since)
        start, stop = first % SIZE, end % SIZE
        text = ring[start:stop] if start < stop else ring[start:] + ring[:stop]
        if first > since:
            text = text[text.find(b"\n") + 1 :]  # the beginning of its first line is gone
        return Piece(text, end, end - since - len(text))

    def clear(self) -> None:
        """Make the seat an empty one."""
        for word in _Word:
            self._words[word] = 0

    def close(self) -> None:
        """Give up the mapping."""
        self._is_mine = False
        self._words.release()
        self._memory.close()

    def _after_fork(self) -> None:
        self._is_mine = False


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a process that has ended wrote at its end."""

    incarnation: int
    text: bytes
    end: int
    """How many bytes it ever wrote."""


class Tails:
    """The tails of all seats. The primary's side of it."""

    def __init__(self, descriptor: int, seats: int) -> None:
        self.descriptor = descriptor
        self.seats = seats
        self.last: dict[int, LastWords] = {}
        """By slot: of the process that ended last there."""
        self._tails: dict[int, Tail] = {}

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make it for ``seats`` processes; memory is taken where it is written.

        Raises `CouldNotStart`.
        """
        try:
            descriptor = sealed_file("tercio-tails", seats * _PART, sparse=True)
        except OSError as error:
            raise CouldNotStart(f"no memory for workers' output: {error.strerror}") from error
        return cls(descriptor, seats)

    def of_slot(self, slot: int) -> Iterator[Tail]:
        """The tails of a slot's living processes, oldest first."""
        found = (self._tail(seat) for seat in range(self.seats))
        ours = [tail for tail in found if tail.slot == slot]
        yield from sorted(ours, key=lambda tail: tail.incarnation)

    def release(self, seat: int) -> None:
        """Keep the last words of a dead process, and empty its seat."""
        tail = self._tail(seat)
        slot = tail.slot
        # It is the worker that wrote the number: a wrong one must not fill our memory.
        if slot is not None and slot < self.seats:
            piece = tail.read()
            self.last[slot] = LastWords(tail.incarnation, piece.text, piece.end)
        tail.clear()

    def close(self) -> None:
        """Give up mappings and the descriptor."""
        for tail in self._tails.values():
            tail.close()
        os.close(self.descriptor)

    def _tail(self, seat: int) -> Tail:
        if seat not in self._tails:
            self._tails[seat] = Tail(self.descriptor, seat)
        return self._tails[seat]


_tails: weakref.WeakSet[Tail] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for tail in _tails:
        tail._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
