"""Events of the templates that workers are forked from (`--preload`)."""

from dataclasses import dataclass
from typing import ClassVar

from tercio.core.event import Event, Level
from tercio.core.model import WorkerId


@dataclass(frozen=True, slots=True)
class TemplateEvent(Event):
    """About the template of one generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateStarting(TemplateEvent):
    """A process that imports the application for all workers is being started."""

    level: ClassVar[Level] = Level.DEBUG
    cause: str

    @property
    def text(self) -> str:
        return f"the template of generation {self.generation} starts: {self.cause}"


@dataclass(frozen=True, slots=True)
class TemplateReady(TemplateEvent):
    """The application is loaded once; workers are forked from it.

    `native_threads` are those that the import's C code has begun: they do not live in workers.
    """

    seconds: float
    native_threads: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        threads = ""
        if self.native_threads:
            names = ", ".join(sorted(set(self.native_threads)))
            threads = f"; workers are without its {len(self.native_threads)} C threads ({names})"
        return (
            f"the template of generation {self.generation} is ready after "
            f"{self.seconds:.2f} s{threads}"
        )


@dataclass(frozen=True, slots=True)
class TemplateWarning(TemplateEvent):
    """What the import left open is shared by all workers, and probably not meant to be."""

    level: ClassVar[Level] = Level.WARNING
    note: str

    @property
    def text(self) -> str:
        return f"the template of generation {self.generation}: {self.note}"


@dataclass(frozen=True, slots=True)
class TemplateFailed(TemplateEvent):
    """The application cannot be loaded, or not be forked."""

    level: ClassVar[Level] = Level.ERROR
    stage: str
    error: str
    traceback: str

    @property
    def text(self) -> str:
        return f"the template of generation {self.generation} failed in {self.stage}: {self.error}"


@dataclass(frozen=True, slots=True)
class TemplateDied(TemplateEvent):
    """It ended without being told to."""

    level: ClassVar[Level] = Level.ERROR
    status: str
    note: str
    phase: str

    @property
    def text(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return (
            f"the template of generation {self.generation} died while {self.phase}: "
            f"{self.status}{note}"
        )


@dataclass(frozen=True, slots=True)
class TemplateLeft(TemplateEvent):
    """It ended as planned."""

    level: ClassVar[Level] = Level.DEBUG
    reason: str

    @property
    def text(self) -> str:
        return f"the template of generation {self.generation} is gone ({self.reason})"


@dataclass(frozen=True, slots=True)
class TemplateMissed(Event):
    """A worker imports the application by itself: the template is gone."""

    level: ClassVar[Level] = Level.WARNING
    worker: WorkerId
    generation: int

    @property
    def text(self) -> str:
        return (
            f"worker {self.worker} loads generation {self.generation} from its files and shares no "
            "memory: the template is gone"
        )
