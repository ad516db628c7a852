"""Memory in which the processes of a run count and the measuring one reads.

A file, so that Node can read and write it, too. Each process writes words of its own only.
"""

import mmap
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import Self

PROCESSES = 16
"""The most that fit."""

_SENT = 8
_READY = _SENT + PROCESSES
_RECEIVED = _READY + PROCESSES
WORDS = _RECEIVED + PROCESSES * PROCESSES


class Phase(IntEnum):
    """Where a run is."""

    WAIT = 0
    WARM = 1
    MEASURE = 2
    STOP = 3
    """Nobody publishes any more; what is under way arrives."""
    END = 4


class Board:
    """Words of 64 bits: the phase, and counters by process."""

    def __init__(self, path: Path, processes: int) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), WORDS * 8)
        self.path = path
        self.processes = processes
        self.words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, path: Path, processes: int) -> Self:
        if processes > PROCESSES:
            raise ValueError(f"no more than {PROCESSES} processes")
        if sys.byteorder != "little":
            raise SystemExit("the board is read by Node as little-endian words")
        path.write_bytes(bytes(WORDS * 8))
        return cls(path, processes)

    @property
    def phase(self) -> Phase:
        return Phase(self.words[0])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self.words[0] = phase

    def ready(self, process: int) -> None:
        self.words[_READY + process] = 1

    def wait_until_ready(self, limit: float = 20.0) -> None:
        """Raises `TimeoutError`."""
        end = time.monotonic() + limit
        while sum(self.words[_READY : _READY + self.processes]) < self.processes:
            if time.monotonic() > end:
                raise TimeoutError(f"the processes were not ready after {limit:g} s")
            time.sleep(0.02)

    def sent_at(self, process: int) -> int:
        """The index of the word with what it published."""
        return _SENT + process

    def received_at(self, process: int) -> int:
        """The index of the first word of what it received, a word for each publisher."""
        return _RECEIVED + process * PROCESSES

    def sent(self, process: int) -> int:
        return self.words[self.sent_at(process)]

    def received(self, process: int, publisher: int) -> int:
        return self.words[self.received_at(process) + publisher]

    def slowest(self, publisher: int, consumers: list[int]) -> int:
        """What the slowest of them has of a publisher."""
        words = self.words
        return min(words[_RECEIVED + c * PROCESSES + publisher] for c in consumers)

    def delivered(self) -> int:
        """All that was delivered to another process than its publisher."""
        n = self.processes
        return sum(self.received(c, p) for c in range(n) for p in range(n) if c != p)

    def missing(self) -> int:
        """What was published and is not delivered to all others."""
        n = self.processes
        return sum(self.sent(p) * (n - 1) for p in range(n)) - self.delivered()
