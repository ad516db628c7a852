"""What is shown: the newest status, and the last points of each line. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tercio.cli.client import Message, number, records, text
from tercio.metrics.paces import Pace, Paces

POINTS: Final = 240
"""Of each line; what is older goes."""

Line = deque[float | None]


def _lines() -> Mapping[str, Line]:
    return {name: deque(maxlen=POINTS) for name in ("rate", "p99", "lag", "memory")}


@dataclass(slots=True)
class Seen:
    """One worker, or a slot whose worker is gone."""

    name: str
    slot: int
    status: Message
    pace: Pace = field(default_factory=Pace)
    lines: Mapping[str, Line] = field(default_factory=_lines)
    culprit: str | None = None
    """What blocks its loop now."""

    @property
    def state(self) -> str:
        """One word."""
        return "blocked" if self.culprit is not None else text(self.status, "phase")


class History:
    """The cluster as it was seen, as long as one primary answers."""

    def __init__(self) -> None:
        self.status: Message = {}
        self.workers: list[Seen] = []
        """By slot, the older worker first; a slot without one has an entry, too."""
        self.pace = Pace()
        """Of all workers together; the rate has those who are gone, too."""
        self.lines: Mapping[str, Line] = _lines()
        self.connections: Line = deque(maxlen=POINTS)
        self._paces = Paces()
        self._blocked: dict[str, str] = {}
        self._requests: tuple[float, float] | None = None

    def take(self, status: Message, at: float) -> None:
        """Add what is so at a moment, monotonic seconds."""
        self.status = status
        paces = self._paces.look(status, at)
        known = {one.name: one for one in self.workers}
        self.workers = [
            self._seen(known.get(text(worker, "worker")), worker, paces)
            for worker in records(status, "workers")
        ]
        self.workers += _vacant(status, {one.slot for one in self.workers})
        self.workers.sort(key=lambda one: (one.slot, number(one.status, "incarnation") or 0))
        together = self._paces.together
        self.pace = Pace(self._rate(status, at), together.p50, together.p99, together.lag)
        _add(self.lines, self.pace, self._sum("memory_bytes"))
        self.connections.append(self._sum("connections"))

    def hear(self, event: Message) -> None:
        """Take in an event: what blocks a worker is told when it begins and ends."""
        match event.get("kind"):
            case "WorkerBlocked":
                self._blocked[text(event, "worker")] = text(event, "culprit")
            case "WorkerUnblocked" | "WorkerLeft" | "WorkerDied" | "WorkerKilled":
                self._blocked.pop(text(event, "worker"), None)
            case _:
                return
        for one in self.workers:
            one.culprit = self._blocked.get(one.name)

    def miss(self) -> None:
        """Add a gap: nobody answered."""
        for line in (*self.lines.values(), self.connections):
            line.append(None)
        for one in self.workers:
            for line in one.lines.values():
                line.append(None)

    def _seen(self, known: Seen | None, worker: Message, paces: Mapping[str, Pace]) -> Seen:
        name = text(worker, "worker")
        one = known or Seen(name, int(number(worker, "slot") or 0), worker)
        one.status, one.pace = worker, paces.get(name, Pace())
        one.culprit = self._blocked.get(name)
        _add(one.lines, one.pace, number(worker, "memory_bytes"))
        return one

    def _sum(self, key: str) -> float:
        return sum(number(one.status, key) or 0 for one in self.workers)

    def _rate(self, status: Message, at: float) -> float | None:
        requests = number(status, "requests")
        before, self._requests = self._requests, None if requests is None else (requests, at)
        if before is None or requests is None or at <= before[1]:
            return None
        return max(0.0, (requests - before[0]) / (at - before[1]))


def _add(lines: Mapping[str, Line], pace: Pace, memory: float | None) -> None:
    lines["rate"].append(pace.rate)
    lines["p99"].append(pace.p99)
    lines["lag"].append(pace.lag)
    lines["memory"].append(memory)


def _vacant(status: Message, taken: set[int]) -> list[Seen]:
    """Slots whose worker is gone and has no successor yet."""
    found = []
    for slot in records(status, "slots"):
        place = int(number(slot, "slot") or 0)
        if place not in taken:
            found.append(Seen(f"{place}.", place, {**slot, "phase": "down"}))
    return found
