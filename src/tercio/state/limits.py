"""Which verb counts the hits of a rate limit."""

from typing import Literal

from tercio.state.keys import FIXED, MOVING, SLIDING, Keys
from tercio.state.verbs import FixedWindow, MovingWindow, SlidingWindow, Verb, Window

LimitKind = Literal["fixed", "moving", "sliding"]


def hit(
    keys: Keys, key: str, limit: int, period: float, kind: LimitKind, cost: int
) -> Verb[Window]:
    """The verb. Raises `ValueError` for figures that are no limit."""
    if limit < 0 or cost < 0 or not period > 0.0:
        raise ValueError(
            f"limit {limit}, period {period}, cost {cost}: expected no negative number, and a "
            "period of more than 0 seconds"
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
