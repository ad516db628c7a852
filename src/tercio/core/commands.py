"""What the supervisor tells the world to do. The executor carries these out and decides nothing."""

from dataclasses import dataclass

from tercio.core.events import Event
from tercio.core.model import WorkerId


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker process in ``seat`` with the options of ``revision``."""

    worker: WorkerId
    seat: int
    generation: int
    revision: int
    is_forked: bool = False
    """From the template of its generation, which has the application loaded."""


@dataclass(frozen=True, slots=True)
class StartTemplate:
    """Start a process that imports the application with the options of ``revision``."""

    generation: int
    revision: int


@dataclass(frozen=True, slots=True)
class EndTemplate:
    """End it now: it has nothing to finish."""

    generation: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Let a ready or parked worker take connections."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Park:
    """Let a worker take nothing new; it keeps what it has."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Drain:
    """Let a worker finish within ``limit`` seconds and exit."""

    worker: WorkerId
    reason: str
    limit: float
    close_code: int  # for WebSockets: 1012 "service restart", 1001 "going away"
    close_at_once: bool = False
    heirs: tuple[int, ...] | None = None
    """Seats of workers that go on with its connections, before any other; None: nobody does."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker's process group now."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class ShowStack:
    """Ask the kernel's way for the Python stack of a worker that answers nothing."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell people and programs what happened."""

    event: Event


@dataclass(frozen=True, slots=True)
class Exit:
    """No process is left: end the primary with ``code``."""

    code: int


Command = (
    Spawn | StartTemplate | EndTemplate | Serve | Park | Drain | Kill | ShowStack | Publish | Exit
)
