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
    engine: str
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
class CertificateExpires(Event):
    """The certificate that clients are shown ends soon, or has ended. Said once a day."""

    level: ClassVar[Level] = Level.WARNING
    expires: str
    days: float

    @property
    def text(self) -> str:
        if self.days <= 0:
            return f"the TLS certificate has expired on {self.expires}: clients will refuse it"
        return f"the TLS certificate expires on {self.expires}, in {self.days:.1f} days"


@dataclass(frozen=True, slots=True)
class LogsReopened(Event):
    """SIGUSR1 asked for it: log files are opened by their names again, after a rotation."""

    files: tuple[str, ...]

    @property
    def text(self) -> str:
        if not self.files:
            return "there are no log files to open again: lines go to standard output and error"
        return f"log files are opened again: {', '.join(self.files)}"


@dataclass(frozen=True, slots=True)
class LogFileKept(Event):
    """A log file cannot be opened again; the primary's lines go on into the old one."""

    level: ClassVar[Level] = Level.WARNING
    problem: str

    @property
    def text(self) -> str:
        return f"log lines go on into the old file: {self.problem}"


@dataclass(frozen=True, slots=True)
class ClusterReady(Event):
    """All wanted workers serve for the first time."""

    workers: int
    seconds: float

    @property
    def text(self) -> str:
        return f"all {self.workers} workers serve, {self.seconds:.2f} s after the start"


@dataclass(frozen=True, slots=True)
class Statistics(Event):
    """What was done since the last such line (`--stats-interval`); it is not kept for `--since`.

    `p50`, `p99` and `lag` are seconds; the first two are None without requests.
    """

    is_passing: ClassVar[bool] = True
    seconds: float
    requests: int
    rate: float
    server_errors: int
    p50: float | None
    p99: float | None
    in_flight: int
    connections: int
    lag: float

    @property
    def text(self) -> str:
        parts = [
            f"{self.requests} requests in {self.seconds:.3g} s ({self.rate:.1f}/s)",
            f"{self.server_errors} with 5xx",
            *(f"{name} {_ms(value)}" for name, value in (("p50", self.p50), ("p99", self.p99))),
            f"{self.in_flight} in flight",
            f"{self.connections} connections",
            f"loop lag {_ms(self.lag)}",
        ]
        return ", ".join(parts)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"


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
class AttachedKilled(Event):
    """An attached process was stopped while it wrote the shared state, so nobody could write."""

    level: ClassVar[Level] = Level.ERROR
    pid: int
    seconds: float

    @property
    def text(self) -> str:
        return (
            f"attached process {self.pid} was stopped while it wrote the shared state, for "
            f"{self.seconds:.1f} s: killed, as nobody else could write"
        )


@dataclass(frozen=True, slots=True)
class AttachedHoldsState(Event):
    """An attached process holds up all writers of the shared state, and is not to be killed."""

    level: ClassVar[Level] = Level.ERROR
    pid: int | None  # None: it lives outside of the primary's pid namespace
    seconds: float

    @property
    def text(self) -> str:
        who = f"attached process {self.pid}" if self.pid else "an attached process elsewhere"
        return (
            f"{who} has been writing the shared state for {self.seconds:.1f} s; nobody else can "
            "write until it goes on or ends (is it in a debugger?)"
        )


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


@dataclass(frozen=True, slots=True)
class SidecarStarted(Event):
    """A process of its own answers probes and operators."""

    health: tuple[str, ...]
    admin: tuple[str, ...]

    @property
    def text(self) -> str:
        places = (("health", self.health), ("admin", self.admin))
        said = [f"{name} at {', '.join(urls)}" for name, urls in places if urls]
        return " and ".join(said)


@dataclass(frozen=True, slots=True)
class SidecarDied(Event):
    """That process ended; workers serve on, and it is started again."""

    level: ClassVar[Level] = Level.WARNING
    why: str
    wait: float

    @property
    def text(self) -> str:
        return (
            f"the process that answers probes and operators {self.why}; "
            f"it is started again in {self.wait:g} s"
        )
