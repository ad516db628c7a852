"""What a cluster's events, and its processes looked at 100 times a second, say about capacity."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Event = dict[str, Any]

_LEAVES = ("WorkerParked", "WorkerDraining", "WorkerKilled", "WorkerDied", "WorkerLeft")


def serving(events: Iterable[Event]) -> Iterator[int]:
    """How many workers served after each event since all served for the first time."""
    who: set[str] = set()
    is_complete = False
    for event in events:
        if event["kind"] == "WorkerServing":
            who.add(event["worker"])
        elif event["kind"] in _LEAVES:
            who.discard(event["worker"])
        is_complete |= event["kind"] == "ClusterReady"
        if event["kind"] == "StopStarted":
            return
        if is_complete:
            yield len(who)


def served(slot: int) -> Callable[[Event], bool]:
    """Whether an event says that a worker of ``slot`` serves, for `Cluster.wait`."""
    return lambda e: e["kind"] == "WorkerServing" and e["worker"].partition(".")[0] == str(slot)


def most_in_a_slot(events: Iterable[Event]) -> int:
    """The most processes that a slot ever held at once."""
    most = 0
    living: dict[str, set[str]] = {}
    for event in events:
        if "worker" not in event:
            continue
        slot = living.setdefault(event["worker"].partition(".")[0], set())
        if event["kind"] == "WorkerStarting":
            slot.add(event["worker"])
        elif event["kind"] in ("WorkerDied", "WorkerLeft"):
            slot.discard(event["worker"])
        most = max(most, len(slot))
    return most


def starts(events: Iterable[Event], generation: int) -> int:
    """How many processes were started for a generation."""
    return sum(e["kind"] == "WorkerStarting" and e["generation"] == generation for e in events)


class Census:
    """Counts the children of a process in the background; ``most`` is the largest count."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self.looks = 0
        self._children = Path(f"/proc/{pid}/task/{pid}/children")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._ends.wait(0.01):
            try:
                self.most = max(self.most, len(self._children.read_text().split()))
            except FileNotFoundError:
                return  # the process is gone
            self.looks += 1
