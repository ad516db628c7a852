"""Decide how many workers `auto` means, and say why."""

from dataclasses import dataclass
from typing import Final

from tercio.config import Config
from tercio.system.cgroup import Cgroup, Cores

_LEAST_MEMORY_BYTES: Final = 96 << 20
"""What a worker with a framework takes at least; `auto` starts no more than fit."""

_SPARE_SLOTS: Final = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers, how many at most, and the reasons."""

    workers: int
    most: int
    why: str


def size_of(config: Config, cores: Cores, cgroup: Cgroup) -> Size:
    """Take the number asked for, or one a core that this process may use."""
    if isinstance(config.workers, int):
        workers, why = config.workers, "as asked"
    else:
        workers, why = cores.count, f"auto: {cores.reason}"
        if cgroup.memory_limit is not None:
            fitting = max(1, cgroup.memory_limit // _LEAST_MEMORY_BYTES - 1)
            if fitting < workers:
                megabytes = cgroup.memory_limit / 1e6
                workers, why = fitting, f"auto: the cgroup has {megabytes:.0f} MB of memory"
    most = config.max_workers or max(2 * workers, cores.count, _SPARE_SLOTS)
    return Size(workers, max(most, workers), why)
