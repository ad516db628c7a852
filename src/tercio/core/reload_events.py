"""Events of changes that somebody asked for: reload and scale."""

from dataclasses import dataclass
from typing import ClassVar

from tercio.core.event import Event, Level


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
class ReloadWaits(Event):
    """A debugger asks a person; the reload begins when that is over. Only in `tercio dev`."""

    request: int

    @property
    def text(self) -> str:
        return "a debugger waits at its prompt; the reload begins when it goes on"


@dataclass(frozen=True, slots=True)
class ChangeAwaited(Event):
    """The application cannot be loaded; the next change of a file tries again. Only in `dev`."""

    level: ClassVar[Level] = Level.WARNING
    slot: int

    @property
    def text(self) -> str:
        return "the application cannot be loaded; waiting for a change of its files"


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
