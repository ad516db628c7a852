"""What is told to people, programs and tests: the log line, the stream and the assertion are these.

Each event is a frozen value with a level, a one-line text, and typed fields. docs/events.md is
made from this page.
"""

from dataclasses import dataclass, fields
from enum import Enum
from typing import ClassVar

from tercio.core.model import WorkerId


class Level(Enum):
    """How loud an event is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """The root of all events."""

    level: ClassVar[Level] = Level.INFO

    @property
    def text(self) -> str:
        """One line for people."""
        raise AssertionError("each event has its own text")

    def to_fields(self) -> dict[str, object]:
        """The typed fields as JSON values; worker ids as "3.7"."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: _plain(value) for name, value in values}


def _plain(value: object) -> object:
    match value:
        case WorkerId():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


# The cluster


@dataclass(frozen=True, slots=True)
class ClusterStarted(Event):
    """The listeners are open and the first workers are being started."""

    name: str
    app: str
    urls: tuple[str, ...]
    workers: int
    why: str
    server: str
    runtime_dir: str
    pid: int
    version: str

    @property
    def text(self) -> str:
        return (
            f"Tercio serves {self.app} at {', '.join(self.urls)} with {self.workers} workers "
            f"({self.why}), server {self.server}"
        )


@dataclass(frozen=True, slots=True)
class ConfigWarning(Event):
    """The configuration works, and probably not as meant."""

    level: ClassVar[Level] = Level.WARNING
    warning: str

    @property
    def text(self) -> str:
        return self.warning


@dataclass(frozen=True, slots=True)
class ClusterReady(Event):
    """All wanted workers serve for the first time."""

    workers: int
    seconds: float

    @property
    def text(self) -> str:
        return f"all {self.workers} workers serve, {self.seconds:.2f} s after the start"


@dataclass(frozen=True, slots=True)
class StopStarted(Event):
    """The cluster ends: nothing is started any more."""

    delay: float
    limit: float

    @property
    def text(self) -> str:
        wait = f"in {self.delay:g} s, then " if self.delay else ""
        return f"stopping: {wait}requests have {self.limit:g} s to end; a second signal cuts all"


@dataclass(frozen=True, slots=True)
class StopForced(Event):
    """A second signal: everything ends now."""

    level: ClassVar[Level] = Level.WARNING
    workers: tuple[WorkerId, ...]

    @property
    def text(self) -> str:
        return f"stopping at once; {len(self.workers)} workers are cut"


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """No worker is left."""

    exit_code: int
    cut_requests: int = 0
    cut_websockets: int = 0

    @property
    def text(self) -> str:
        if not self.cut_requests and not self.cut_websockets:
            return "stopped; nothing was cut"
        return f"stopped; cut {self.cut_requests} requests and {self.cut_websockets} WebSockets"


@dataclass(frozen=True, slots=True)
class StartGivenUp(Event):
    """No worker ever became ready at first boot."""

    level: ClassVar[Level] = Level.ERROR
    error: str
    traceback: str

    @property
    def text(self) -> str:
        return f"no worker could start: {self.error}"


# One worker


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

    @property
    def text(self) -> str:
        return f"worker {self.worker} is gone ({self.reason}): {self.status}"


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
    """The Python stack of a worker whose interpreter is held by C code."""

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


# Restarts


@dataclass(frozen=True, slots=True)
class RestartDelayed(Event):
    """A slot backs off."""

    level: ClassVar[Level] = Level.WARNING
    slot: int
    seconds: float
    failures: int

    @property
    def text(self) -> str:
        return f"slot {self.slot} tries again in {self.seconds:.1f} s ({self.failures} in a row)"


@dataclass(frozen=True, slots=True)
class BreakerOpened(Event):
    """Too many early deaths: one slot at a time tries from now on."""

    level: ClassVar[Level] = Level.ERROR
    deaths: int
    window: float
    probe_interval: float

    @property
    def text(self) -> str:
        return (
            f"{self.deaths} workers died early within {self.window:g} s: survivors serve on, one "
            f"slot tries every {self.probe_interval:g} s; `tercio reload` tries at once"
        )


@dataclass(frozen=True, slots=True)
class BreakerClosed(Event):
    """A worker stayed ready: all slots start again."""

    @property
    def text(self) -> str:
        return "a worker stayed ready: all slots start again"


# Reload, scale, recycle


@dataclass(frozen=True, slots=True)
class ReloadStarted(Event):
    """Successors are being started."""

    generation: int
    requests: tuple[int, ...]
    is_exact: bool

    @property
    def text(self) -> str:
        if self.is_exact:
            return f"reload to generation {self.generation} starts"
        return (
            f"reload to generation {self.generation} starts, one slot after the other: there is no "
            "memory for two sets of workers, so a failure cannot bring back replaced ones exactly"
        )


@dataclass(frozen=True, slots=True)
class ReloadQueued(Event):
    """A reload runs; this one follows it, together with all that come until then."""

    request: int

    @property
    def text(self) -> str:
        return "a reload is running; one more follows it"


@dataclass(frozen=True, slots=True)
class ReloadRefused(Event):
    """The reload did not begin: its configuration is wrong or not for a reload to change."""

    level: ClassVar[Level] = Level.ERROR
    error: str

    @property
    def text(self) -> str:
        return f"reload refused, the old configuration goes on: {self.error}"


@dataclass(frozen=True, slots=True)
class ReloadTrial(Event):
    """All successors are ready and take over; the old workers are parked."""

    generation: int
    seconds: float

    @property
    def text(self) -> str:
        return f"generation {self.generation} takes over, on trial for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class ReloadCommitted(Event):
    """The new generation stays."""

    generation: int
    requests: tuple[int, ...]
    seconds: float

    @property
    def text(self) -> str:
        return f"reload to generation {self.generation} is done after {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class ReloadRejected(Event):
    """The new generation failed; the old one serves on."""

    level: ClassVar[Level] = Level.ERROR
    generation: int
    kept: int
    requests: tuple[int, ...]
    reason: str
    traceback: str
    replaced: tuple[int, ...] = ()  # slots that a rolling reload had already changed

    @property
    def text(self) -> str:
        left = f" (slots {list(self.replaced)} already run it)" if self.replaced else ""
        return (
            f"generation {self.generation} was rejected, still serving generation {self.kept}"
            f"{left}: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Scaled(Event):
    """Another number of workers is wanted."""

    before: int
    target: int

    @property
    def text(self) -> str:
        return f"scaling from {self.before} to {self.target} workers"


@dataclass(frozen=True, slots=True)
class ScaleRefused(Event):
    """The number asked for cannot be had."""

    level: ClassVar[Level] = Level.WARNING
    asked: int
    most: int

    @property
    def text(self) -> str:
        return (
            f"cannot scale to {self.asked} workers: 1 to {self.most} are possible (--max-workers)"
        )
