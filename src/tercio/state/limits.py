"""Which verb counts the hits of a rate limit."""

from typing import Final, Literal

from tercio.state.keys import FIXED, MOVING, SLIDING, Keys, whole
from tercio.state.verbs import FixedWindow, MovingWindow, SlidingWindow, Verb, Window

LimitKind = Literal["fixed", "moving", "sliding"]

MOST: Final = 10**15
"""Hits: some sums of them are exact on every engine, also as doubles."""
SHORTEST: Final = 1e-6
LONGEST: Final = 1e9
"""Seconds of a period."""


def hit(
    keys: Keys, key: str, limit: int, period: float, kind: LimitKind, cost: int
) -> Verb[Window]:
    """The verb. Raises `ValueError` for figures that are no limit, `TypeError` for no numbers."""
    limit, cost = whole(limit, "limit"), whole(cost, "cost")
    if not (0 <= limit <= MOST and 0 <= cost <= MOST and SHORTEST <= period <= LONGEST):
        raise ValueError(
            f"limit {limit}, period {period}, cost {cost}: expected numbers from 0 to 10^15, and a "
            f"period of {SHORTEST:g} to {LONGEST:g} seconds"
        )
    match kind:
        case "fixed":
            return FixedWindow(keys.of(FIXED, key), limit, period, cost)
        case "moving":
            return MovingWindow(keys.of(MOVING, key), limit, period, cost)
        case "sliding":
            return SlidingWindow(keys.of(SLIDING, key), limit, period, cost)
        case _:
            raise ValueError(f"kind {kind!r}: expected fixed, moving or sliding")
