"""How many messages one client may send now: a bucket that fills with time. The clock is asked.

A second's worth may come at once; nothing is asked of a timer as long as there is some left.
"""

from time import monotonic
from typing import Final

_REST: Final = 0.1
"""Seconds to wait for more, at the least: a timer each is not to be one a message."""


class Allowance:
    """Of one WebSocket. ``rate`` is in messages a second."""

    __slots__ = ("_at", "_rate", "left")

    def __init__(self, rate: int) -> None:
        self.left = float(rate)
        """Messages; whoever takes one subtracts it. Less than 1: none may be taken."""
        self._rate = rate
        self._at = monotonic()

    def refill(self) -> None:
        """Add what time has brought."""
        now = monotonic()
        self.left = min(self._rate, self.left + (now - self._at) * self._rate)
        self._at = now

    @property
    def wait(self) -> float:
        """Seconds until it is worth while to look again."""
        return max(_REST, (1 - self.left) / self._rate)
