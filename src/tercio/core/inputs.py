"""What the world tells the supervisor. Each is a fact with a time; none is an order."""

from dataclasses import dataclass, field

from tercio.core.health import Beats
from tercio.core.model import WorkerId
from tercio.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker imported the app and ran its start-up."""

    worker: WorkerId
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker can serve."""

    worker: WorkerId
    used_bytes: int | None = None  # private memory before its first request


@dataclass(frozen=True, slots=True)
class BootFailed:
    """A worker said why it cannot serve; its exit follows."""

    worker: WorkerId
    stage: str
    error: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class SpawnRefused:
    """The kernel gave no process."""

    worker: WorkerId
    error: str


@dataclass(frozen=True, slots=True)
class NotForked:
    """A worker never began: the template that it was to be a fork of is gone. It costs nothing."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class TemplateLoaded:
    """A template has imported the application; workers can be forked from it."""

    generation: int
    native_threads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the import left open


@dataclass(frozen=True, slots=True)
class TemplateFailed:
    """A template said why it cannot be forked; its end follows."""

    generation: int
    stage: str
    error: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class TemplateEnded:
    """A template is gone and was reaped, or was never given by the kernel."""

    generation: int
    status: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone and was reaped."""

    worker: WorkerId
    status: str  # for people: "exited with 3", "killed by SIGKILL"
    note: str = ""  # such as "the kernel's OOM killer ended it"
    in_flight: int = 0  # requests that it had begun, did not end, and did not report as cut
    websockets: int = 0  # the same of WebSockets
    traceback: str = ""  # its Python stack when a fault of C code ended it
    moved: int = 0  # connections that other workers took over as it left


@dataclass(frozen=True, slots=True)
class Cut:
    """A worker reached its drain limit and cut what was left."""

    worker: WorkerId
    requests: int
    websockets: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplacementAsked:
    """A worker is to be replaced: a person, a signal or a limit of its own asked."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class RecycleAsked:
    """A person wants the workers of these slots replaced."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """The app is to be loaded anew, with the options of ``revision``."""

    request: int
    revision: int
    policy: Policy
    headroom_bytes: int | None = None  # memory the cgroup has left; None = no limit
    needed_bytes: int = 0  # what a second set of workers takes


@dataclass(frozen=True, slots=True)
class ScaleAsked:
    """A person wants this many workers."""

    target: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Stop: gracefully the first time, at once the second."""

    exit_code: int = 0  # what a forced stop exits with
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured of one worker."""

    worker: WorkerId
    beats: Beats
    requests: int = 0
    used_bytes: int | None = None  # private memory; None = not measured this time


@dataclass(frozen=True, slots=True)
class Sampled:
    """A round of measurements."""

    samples: tuple[Sample, ...] = field(default=())
    headroom_bytes: int | None = None


Input = (
    Tick
    | Loaded
    | Ready
    | BootFailed
    | SpawnRefused
    | NotForked
    | TemplateLoaded
    | TemplateFailed
    | TemplateEnded
    | Exited
    | Cut
    | ReplacementAsked
    | RecycleAsked
    | ReloadAsked
    | ScaleAsked
    | StopAsked
    | Sampled
)
