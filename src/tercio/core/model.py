"""The supervisor's records: slots, and the workers that live in them.

Facts only. What should happen to a worker is derived from these at every turn, never stored.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

SEATS_PER_SLOT: Final = 2
"""A slot has room for a worker and its successor, parked and draining ones included."""

_KEPT_REASONS: Final = 10


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """Who a worker is. The pid is only an attribute: the kernel uses pids again."""

    slot: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.slot}.{self.incarnation}"


class Phase(Enum):
    """Where a worker is in its life, as the primary knows it."""

    BOOTING = "booting"  # started; imports the app, runs its lifespan start-up
    PROBING = "probing"  # loaded; asks the app whether it is ready
    STANDBY = "standby"  # ready, takes nothing yet
    SERVING = "serving"
    PARKED = "parked"  # takes nothing new, able to serve again at once
    DRAINING = "draining"  # finishes what it has, then exits
    DYING = "dying"  # SIGKILL was sent

    @property
    def is_leaving(self) -> bool:
        """Whether the worker has been told to go."""
        return self in (Phase.DRAINING, Phase.DYING)

    @property
    def is_starting(self) -> bool:
        """Whether the worker cannot serve yet."""
        return self in (Phase.BOOTING, Phase.PROBING)


@dataclass(frozen=True, slots=True)
class Retirement:
    """Why a worker is to be replaced although it works."""

    reason: str
    is_automatic: bool  # a limit asked for it, not a person
    vacate: bool = False  # no memory for two: the old one leaves before the new one starts


@dataclass(slots=True)
class Worker:
    """One process, from its start until it was reaped."""

    id: WorkerId
    seat: int
    generation: int
    phase: Phase
    since: float  # when it entered the phase
    spawned: float
    deadline: float | None = None  # when the phase is over at the latest
    ready_at: float | None = None
    serving_at: float | None = None
    retirement: Retirement | None = None
    departure: str | None = None  # why it was told to go
    fault: str | None = None  # what it did wrong, when that is why it goes
    traceback: str = ""
    fresh_bytes: int | None = None  # private memory before its first request
    loaded: str = ""  # fingerprint of the files it runs
    missed_beats: int = 0  # judgements in a row that found it unhealthy
    is_silent: bool = False  # said so already
    is_paused: bool = False  # a limit was passed, but a replacement would load rejected files
    is_at_prompt: bool = False  # a debugger in it asks a person
    is_kept: bool = False  # of a rejected rolling reload; its predecessor is gone for good

    def enter(self, phase: Phase, now: float, deadline: float | None = None) -> None:
        """Move to ``phase``; it ends at ``deadline`` at the latest."""
        self.phase = phase
        self.since = now
        self.deadline = deadline

    def was_stable(self, now: float, stable_after: float) -> bool:
        """Whether it stayed ready long enough for its death to cost nothing."""
        return self.ready_at is not None and now >= self.ready_at + stable_after


@dataclass(slots=True)
class Slot:
    """A numbered place in the cluster. It outlives its processes."""

    number: int
    workers: list[Worker] = field(default_factory=list)  # oldest first, at most two
    incarnations: int = 0
    restarts: int = 0
    failures: int = 0  # early deaths in a row
    not_before: float = 0.0  # back-off: nothing starts here earlier
    started_at: float = -1.0  # the last start
    vacated: bool = False  # a worker left before its successor started, which does not serve yet
    last_error: str = ""
    last_traceback: str = ""
    reasons: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_REASONS))

    @property
    def present(self) -> list[Worker]:
        """Workers that have not been told to go."""
        return [worker for worker in self.workers if not worker.phase.is_leaving]

    @property
    def serving(self) -> list[Worker]:
        """Workers that take connections."""
        return [worker for worker in self.workers if worker.phase is Phase.SERVING]

    def has_room(self) -> bool:
        """Whether one more process may live here."""
        if self.vacated:
            return not self.workers
        return len(self.workers) < SEATS_PER_SLOT

    def free_seat(self) -> int:
        """A seat that no process holds. Only called when there is room."""
        taken = {worker.seat for worker in self.workers}
        first = self.number * SEATS_PER_SLOT
        return next(seat for seat in range(first, first + SEATS_PER_SLOT) if seat not in taken)

    def record_error(self, error: str, traceback: str = "") -> None:
        """Keep the newest failure for `status`."""
        self.last_error = error
        self.last_traceback = traceback or self.last_traceback
        self.reasons.append(error)
