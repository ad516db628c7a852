"""What processes used: CPU time, and memory of their own."""

from collections.abc import Iterable
from pathlib import Path


def cpu_ns(pids: Iterable[int]) -> int:
    """Nanoseconds of CPU time of all threads that live, as the scheduler counts them."""
    spent = 0
    for pid in pids:
        for statistics in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            spent += int(statistics.read_text().split()[0])
    return spent


def anonymous(pid: int) -> int:
    """Bytes of memory that belong to the process alone: its heap, its buffers."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nRssAnon:")[2].split()[0]) * 1024
