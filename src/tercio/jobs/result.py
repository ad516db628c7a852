"""What became of a run, as it is kept, counted and told."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["success", "error", "timeout", "cancelled", "lost", "skipped", "missed"]


@dataclass(frozen=True, slots=True)
class Result:
    """One run, or one that did not take place (``skipped``, ``missed``)."""

    job: str
    outcome: Outcome
    scheduled: float
    """Unix time for which it was due."""
    started: float
    """Unix time."""
    seconds: float = 0.0
    """How long it took."""
    error: str = ""
    """In one line."""
    token: int = 0
    runner: str = ""
    """The worker that ran it, ``SLOT.INCARNATION``; on several machines with the host's name."""

    @property
    def took_place(self) -> bool:
        """Whether the function was called."""
        return self.outcome not in ("skipped", "missed")
