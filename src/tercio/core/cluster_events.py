"""Events of the whole cluster: start, restarts, stop."""

from dataclasses import dataclass
from typing import ClassVar

from tercio.core.event import Event, Level
from tercio.core.model import WorkerId


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
    left: tuple[WorkerId, ...] = ()  # killed, and still held by the kernel

    @property
    def text(self) -> str:
        if self.left:
            names = ", ".join(map(str, self.left))
            return f"stopped, but killed workers are still there: {names}; what they had is unknown"
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
