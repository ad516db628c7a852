"""What a program sees of its cluster: workers, events and messages, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tercio.cli.client import number, records, text


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker, as it was when its cluster was last asked. Times are seconds."""

    slot: int
    incarnation: int
    generation: int
    state: str
    """"booting", "probing", "standby", "serving", "parked", "draining" or "dying"."""
    pid: int | None
    uptime: float
    requests: int
    in_flight: int
    connections: int
    memory_bytes: int | None
    """Its own, without what it shares; None where that cannot be read."""
    cpu_percent: float
    restarts: int
    """Of its slot."""
    last_error: str
    """Of its slot."""
    note: str
    """Why it is to be replaced, or leaves."""

    @property
    def id(self) -> str:
        """``SLOT.INCARNATION``: who it is. A pid may be used again."""
        return f"{self.slot}.{self.incarnation}"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """From an item of ``workers`` in the status."""

        def whole(key: str) -> int:
            return int(number(values, key) or 0)

        pid, memory = number(values, "pid"), number(values, "memory_bytes")
        return cls(
            slot=whole("slot"),
            incarnation=whole("incarnation"),
            generation=whole("generation"),
            state=text(values, "phase"),
            pid=None if pid is None else int(pid),
            uptime=number(values, "uptime") or 0.0,
            requests=whole("requests"),
            in_flight=whole("in_flight"),
            connections=whole("connections"),
            memory_bytes=None if memory is None else int(memory),
            cpu_percent=number(values, "cpu_percent") or 0.0,
            restarts=whole("restarts"),
            last_error=text(values, "last_error"),
            note=text(values, "note"),
        )


def workers_of(status: Mapping[str, object]) -> tuple[WorkerStatus, ...]:
    """All workers in a status, by slot; a worker and its successor have the same one."""
    return tuple(WorkerStatus.of(values) for values in records(status, "workers"))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the cluster; docs/events.md lists the kinds."""

    kind: str
    level: str
    text: str
    """One line for people."""
    time: float
    """Unix seconds."""
    sequence: int
    worker: str
    """``SLOT.INCARNATION``; empty for what is about the whole cluster."""
    fields: Mapping[str, object] = field(repr=False)
    """Everything that the control socket says of it."""

    @property
    def slot(self) -> int | None:
        """The worker's slot, if it is about one."""
        slot = self.worker.partition(".")[0]
        return int(slot) if slot.isdigit() else None

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """From what the control socket says."""
        return cls(
            kind=text(values, "kind"),
            level=text(values, "level"),
            text=text(values, "text"),
            time=number(values, "time") or 0.0,
            sequence=int(number(values, "sequence") or 0),
            worker=text(values, "worker"),
            fields=values,
        )


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """What a worker has sent to the program that launched it."""

    slot: int
    incarnation: int
    value: object

    @property
    def worker(self) -> str:
        """``SLOT.INCARNATION``."""
        return f"{self.slot}.{self.incarnation}"
