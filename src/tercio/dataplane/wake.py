"""Wake the process of a seat: one descriptor a seat that its event loop watches.

An eventfd where there is one, else a pipe. A wake-up says nothing but "look"; many are one.
"""

import os
import sys
from collections.abc import Sequence
from typing import Self

_ONE = (1).to_bytes(8, sys.byteorder)


class Wakes:
    """All wake-up descriptors of a cluster. Any process may wake any seat."""

    def __init__(self, reading: Sequence[int], writing: Sequence[int]) -> None:
        self._reading = reading
        self._writing = writing  # the same numbers for eventfds

    @classmethod
    def create(cls, seats: int, *, pipes: bool = False) -> Self:
        """Make one a seat; ``pipes`` takes those even where eventfds are. Raises `OSError`."""
        reading: list[int] = []
        writing: list[int] = []
        try:
            for _ in range(seats):
                if hasattr(os, "eventfd") and not pipes:
                    both = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                    reading.append(both)
                    writing.append(both)
                else:
                    there, here = os.pipe()
                    reading.append(there)
                    writing.append(here)
                    os.set_blocking(there, False)
                    os.set_blocking(here, False)
        except BaseException:
            for fd in {*reading, *writing}:
                os.close(fd)
            raise
        return cls(reading, writing)

    @classmethod
    def attach(cls, descriptors: Sequence[int], seats: int) -> Self:
        """Use those that were inherited, in the order of `descriptors`."""
        is_piped = len(descriptors) == 2 * seats
        return cls(descriptors[:seats], descriptors[seats:] if is_piped else descriptors[:seats])

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What another process needs to `attach`."""
        if self._reading == self._writing:
            return tuple(self._reading)
        return (*self._reading, *self._writing)

    def fileno(self, seat: int) -> int:
        """What becomes readable when the seat is woken."""
        return self._reading[seat]

    def wake(self, seat: int) -> None:
        """Make the seat's process look. Never waits."""
        try:
            os.write(self._writing[seat], _ONE)
        except BlockingIOError:
            pass  # so many wake-ups wait there that one more says nothing

    def clear(self, seat: int) -> None:
        """Take the wake-ups that came, before looking."""
        try:
            os.read(self._reading[seat], 4096)
        except BlockingIOError:
            pass  # somebody else's event was taken for ours

    def close(self) -> None:
        """Give the descriptors up."""
        for fd in set(self.descriptors):
            os.close(fd)
