"""The supervisor's record of a template: a process with the application loaded, to be forked.

Facts only; `templates` decides.
"""

from dataclasses import dataclass
from enum import Enum


class TemplatePhase(Enum):
    """Where a template is in its life, as the primary knows it."""

    STARTING = "starting"  # imports the application
    READY = "ready"  # can be forked
    ENDING = "ending"  # SIGKILL was sent
    GONE = "gone"  # died without being told to; another one may take its place


@dataclass(slots=True)
class Template:
    """The template of one generation, which outlives its process."""

    generation: int
    revision: int
    phase: TemplatePhase
    since: float  # when it entered the phase
    deadline: float | None = None  # when the phase is over at the latest
    started: float = 0.0
    was_ready: bool = False  # this process or one before it
    failures: int = 0  # deaths in a row
    not_before: float = 0.0  # back-off: it is not started again earlier
    departure: str | None = None  # why it was told to go
    fault: str | None = None  # what it did wrong, when that is why it goes
    traceback: str = ""

    @property
    def lives(self) -> bool:
        """Whether there is a process."""
        return self.phase is not TemplatePhase.GONE

    def enter(self, phase: TemplatePhase, now: float, deadline: float | None = None) -> None:
        """Move to ``phase``; it ends at ``deadline`` at the latest."""
        self.phase = phase
        self.since = now
        self.deadline = deadline
