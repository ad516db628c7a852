"""What a server's processes used: CPU time, and memory."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds since the start of the processes, or between two looks; ended threads count."""

    user: float
    system: float

    @classmethod
    def of(cls, pids: Iterable[int]) -> Self:
        # Linux scales these by the exact run time: a tick of 10 ms is their grain, not their error.
        each = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return cls(sum(int(f[11]) for f in each) * _TICK, sum(int(f[12]) for f in each) * _TICK)

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.user - earlier.user, self.system - earlier.system)

    @property
    def total(self) -> float:
        return self.user + self.system


def resident(pids: Iterable[int]) -> int:
    """Bytes of memory; a page that processes share counts once (PSS)."""
    kibibytes = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kibibytes += int(rollup.partition("\nPss:")[2].split()[0])
    return kibibytes * 1024
