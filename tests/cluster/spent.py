"""What processes cost: CPU time to the nanosecond, and how often they woke up."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Spent:
    """Since the start of the processes, or between two looks."""

    cpu_ns: int
    wakeups: int  # voluntary context switches: each is a wait that ended

    @classmethod
    def by(cls, pids: Iterable[int]) -> Self:
        """All threads of the processes together."""
        each = [spent for pid in pids for spent in by_thread(pid).values()]
        return cls(sum(s.cpu_ns for s in each), sum(s.wakeups for s in each))

    def __sub__(self, earlier: "Spent") -> "Spent":
        return Spent(self.cpu_ns - earlier.cpu_ns, self.wakeups - earlier.wakeups)


def by_thread(pid: int) -> dict[int, Spent]:
    """The threads of a process, by their numbers."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # utime and stime count ticks of 10 ms, and an idle process takes none of them.
        cpu_ns = int((task / "schedstat").read_text().split()[0])
        status = (task / "status").read_text()
        wakeups = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        found[int(task.name)] = Spent(cpu_ns, wakeups)
    return found


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]
