"""What a scenario is asked to do, and what came of it."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """How long a scenario may take."""

    is_quick: bool = False
    reloads: int = 2  # in each round


@dataclass(frozen=True)
class Range:
    """Least and most of something, such as connections a worker."""

    least: float
    most: float


@dataclass(frozen=True)
class Figure:
    """A number with its digits, and the number it is a part of."""

    value: float | Range | None  # None: not measured here
    digits: int = 0
    of: int | None = None


@dataclass(frozen=True)
class Outcome:
    """One server in one round."""

    figures: dict[str, Figure]
    reasons: Counter[str] = field(default_factory=Counter)  # of failed requests


def milliseconds(seconds: float) -> Figure:
    return Figure(1000 * seconds, 0 if seconds >= 0.02 else 1)
