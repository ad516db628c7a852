"""Measure the memory of a process and what is left of it for all; sizes in bytes.

`rss` is cheap but counts shared pages in full; `uss` is what would become free if the process
ended, `pss` adds its share of the shared pages. Both make the kernel walk the page tables (some
ms per GiB): ask for them when `rss` gives a reason to.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tercio.system import cgroup, proc

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Footprint:
    rss: int
    pss: int
    uss: int


def rss(pid: int) -> int | None:
    """Resident bytes; None if the process is gone or the platform does not tell (macOS)."""
    pages = _statm(pid)
    return None if pages is None else pages[0] * _PAGE


def uss(pid: int) -> int | None:
    """Bytes that are the process's own; see `footprint`."""
    measured = footprint(pid)
    return None if measured is None else measured.uss


def pss(pid: int) -> int | None:
    """Own bytes and a fair share of the shared ones; see `footprint`."""
    measured = footprint(pid)
    return None if measured is None else measured.pss


def footprint(pid: int) -> Footprint | None:
    """All three sizes in one reading; None if the process is gone.

    Where the kernel has no ``smaps_rollup`` (before 4.14, or a process that may not be traced),
    own memory is estimated as resident minus file-backed pages, and stands for `pss`, too.
    """
    rollup = proc.read(pid, "smaps_rollup")
    if rollup:
        sizes = _kibibytes(rollup)
        own = ("Private_Clean", "Private_Dirty", "Private_Hugetlb")
        return Footprint(
            rss=sizes.get("Rss", 0),
            pss=sizes.get("Pss", 0),
            uss=sum(sizes.get(key, 0) for key in own),
        )
    pages = _statm(pid)
    if pages is None:
        return None
    resident, shared = pages
    estimate = (resident - shared) * _PAGE
    return Footprint(rss=resident * _PAGE, pss=estimate, uss=estimate)


def available(root: Path = Path("/")) -> int | None:
    """What can still be used: the least of the machine's free memory and the cgroup's headroom."""
    return _least(_meminfo(root, "MemAvailable"), cgroup.limits(root).memory_headroom)


def total(root: Path = Path("/")) -> int | None:
    """What there is at most: the least of the machine's memory and the cgroup's limit."""
    return _least(_meminfo(root, "MemTotal"), cgroup.limits(root).memory_limit)


def _statm(pid: int) -> tuple[int, int] | None:
    """Resident and shared pages."""
    line = proc.read(pid, "statm")
    if not line:
        return None
    fields = line.split()
    return int(fields[1]), int(fields[2])


def _meminfo(root: Path, key: str) -> int | None:
    try:
        return _kibibytes((root / "proc/meminfo").read_bytes()).get(key)
    except OSError:
        return None


def _kibibytes(text: bytes) -> dict[str, int]:
    """Parse lines such as ``Pss:    1234 kB`` into bytes; other lines are passed over."""
    sizes = {}
    for line in text.decode().splitlines():
        match line.split():
            case [key, number, "kB"]:
                sizes[key.removesuffix(":")] = int(number) * 1024
    return sizes


def _least(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)
