"""Events of one worker."""

from dataclasses import dataclass
from typing import ClassVar

from tercio.core.event import Event, Level
from tercio.core.model import WorkerId


@dataclass(frozen=True, slots=True)
class WorkerEvent(Event):
    """About one worker."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerStarting(WorkerEvent):
    """A process is being started."""

    level: ClassVar[Level] = Level.DEBUG
    generation: int
    cause: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} starts, generation {self.generation}: {self.cause}"


@dataclass(frozen=True, slots=True)
class SpawnFailed(WorkerEvent):
    """The kernel gave no process; tried again with back-off."""

    level: ClassVar[Level] = Level.ERROR
    error: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} could not be started: {self.error}"


@dataclass(frozen=True, slots=True)
class WorkerReady(WorkerEvent):
    """The app is loaded and passed its readiness probe."""

    generation: int
    seconds: float

    @property
    def text(self) -> str:
        return f"worker {self.worker} is ready after {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True)
class WorkerServing(WorkerEvent):
    """It takes connections."""

    level: ClassVar[Level] = Level.DEBUG
    generation: int

    @property
    def text(self) -> str:
        return f"worker {self.worker} serves generation {self.generation}"


@dataclass(frozen=True, slots=True)
class WorkerParked(WorkerEvent):
    """It takes nothing new and waits for the outcome of a reload."""

    level: ClassVar[Level] = Level.DEBUG

    @property
    def text(self) -> str:
        return f"worker {self.worker} is parked"


@dataclass(frozen=True, slots=True)
class WorkerDraining(WorkerEvent):
    """It finishes what it has and exits."""

    reason: str
    limit: float

    @property
    def text(self) -> str:
        return f"worker {self.worker} drains ({self.reason}), {self.limit:g} s at most"


@dataclass(frozen=True, slots=True)
class WorkerBootFailed(WorkerEvent):
    """It could not become ready."""

    level: ClassVar[Level] = Level.ERROR
    stage: str
    error: str
    traceback: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} could not start ({self.stage}): {self.error}"


@dataclass(frozen=True, slots=True)
class WorkerKilled(WorkerEvent):
    """The primary ended it."""

    level: ClassVar[Level] = Level.WARNING
    reason: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} is killed: {self.reason}"


@dataclass(frozen=True, slots=True)
class WorkerLeft(WorkerEvent):
    """It exited because it was told to."""

    reason: str
    status: str
    moved: int = 0  # connections that other workers go on with

    @property
    def text(self) -> str:
        moved = f"; {self.moved} connections went on with others" if self.moved else ""
        return f"worker {self.worker} is gone ({self.reason}): {self.status}{moved}"


@dataclass(frozen=True, slots=True)
class WorkerDied(WorkerEvent):
    """It ended without being told to."""

    level: ClassVar[Level] = Level.ERROR
    status: str
    note: str
    uptime: float
    phase: str
    lost_requests: int = 0

    @property
    def text(self) -> str:
        note = f" ({self.note})" if self.note else ""
        lost = ""
        if self.lost_requests:
            were = "request was" if self.lost_requests == 1 else "requests were"
            lost = f"; {self.lost_requests} {were} lost"
        return f"worker {self.worker} died while {self.phase}: {self.status}{note}{lost}"


@dataclass(frozen=True, slots=True)
class WorkerBlocked(WorkerEvent):
    """Its event loop is inside one callback."""

    level: ClassVar[Level] = Level.WARNING
    seconds: float
    culprit: str
    stack: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} is blocked for {self.seconds:.1f} s at {self.culprit}"


@dataclass(frozen=True, slots=True)
class WorkerUnblocked(WorkerEvent):
    """The callback returned."""

    seconds: float

    @property
    def text(self) -> str:
        return f"worker {self.worker} runs again after {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class RequestOverdue(WorkerEvent):
    """A WSGI application did nothing about a request for ``--timeout-request``."""

    level: ClassVar[Level] = Level.WARNING
    seconds: float
    request: str
    culprit: str
    stack: str

    @property
    def text(self) -> str:
        where = f"is at {self.culprit}" if self.culprit else "found no free thread"
        stack = f"\n{self.stack.rstrip()}" if self.stack else ""
        return f"worker {self.worker}: {self.request} {where} for {self.seconds:.1f} s{stack}"


@dataclass(frozen=True, slots=True)
class WorkerSilent(WorkerEvent):
    """Neither its loop nor its watchdog thread runs."""

    level: ClassVar[Level] = Level.WARNING
    seconds: float
    verdict: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} gives no sign for {self.seconds:.1f} s: {self.verdict}"


@dataclass(frozen=True, slots=True)
class WorkerStack(WorkerEvent):
    """The Python stack of a worker that C code holds, or that a fault of C code ended."""

    level: ClassVar[Level] = Level.WARNING
    stack: str

    @property
    def text(self) -> str:
        return f"worker {self.worker} is inside:\n{self.stack.rstrip()}"


@dataclass(frozen=True, slots=True)
class RetirementPlanned(WorkerEvent):
    """It works, and is to be replaced."""

    reason: str
    vacates_first: bool = False

    @property
    def text(self) -> str:
        how = "leaves first, there is no memory for two" if self.vacates_first else "seat change"
        return f"worker {self.worker} is to be replaced: {self.reason} ({how})"


@dataclass(frozen=True, slots=True)
class RetirementPaused(WorkerEvent):
    """A limit asks for a replacement, but the files on disk are of a rejected release."""

    level: ClassVar[Level] = Level.WARNING
    reason: str

    @property
    def text(self) -> str:
        return (
            f"worker {self.worker} is kept although {self.reason}: "
            "the last release was rejected, a replacement would load it"
        )


@dataclass(frozen=True, slots=True)
class LimitTooLow(WorkerEvent):
    """A fresh worker takes more than the memory limit; replacing it would change nothing."""

    level: ClassVar[Level] = Level.WARNING
    used_bytes: int
    limit_bytes: int

    @property
    def text(self) -> str:
        return (
            f"worker {self.worker} takes {self.used_bytes / 1e6:.0f} MB when it is fresh, more "
            f"than the limit of {self.limit_bytes / 1e6:.0f} MB: it is kept unless it grows; "
            "raise --limit-max-memory, or run fewer workers"
        )


@dataclass(frozen=True, slots=True)
class FilesChanged(WorkerEvent):
    """A worker loaded other files than the rest of its generation."""

    level: ClassVar[Level] = Level.WARNING
    generation: int
    loaded: str
    expected: str

    @property
    def text(self) -> str:
        return (
            f"worker {self.worker} of generation {self.generation} loaded files that changed since "
            f"({self.loaded} instead of {self.expected}); `tercio reload` brings all to one release"
        )


@dataclass(frozen=True, slots=True)
class RequestsCut(WorkerEvent):
    """A drain reached its limit."""

    level: ClassVar[Level] = Level.WARNING
    requests: int
    websockets: int
    paths: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        where = f": {', '.join(self.paths)}" if self.paths else ""
        return (
            f"worker {self.worker} cut {self.requests} requests and {self.websockets} WebSockets "
            f"at the limit{where}"
        )


@dataclass(frozen=True, slots=True)
class WorkerNote(WorkerEvent):
    """Something a worker wants known."""

    note: str

    @property
    def text(self) -> str:
        return f"worker {self.worker}: {self.note}"


@dataclass(frozen=True, slots=True)
class WorkerWarning(WorkerEvent):
    """Something is wrong with a worker: it says so itself, or the primary sees it."""

    level: ClassVar[Level] = Level.WARNING
    note: str

    @property
    def text(self) -> str:
        return f"worker {self.worker}: {self.note}"
