"""Bound how much one worker may make the primary say. What is more is counted, not said.

A worker runs user code: a loop in it, or a child that kept its channel, can write without end.
"""

from typing import Final

A_SECOND: Final = 20
"""Far above what a worker in trouble has to tell, far below what a log or a loop would feel."""


class Allowance:
    """So many a second."""

    def __init__(self, most: int = A_SECOND) -> None:
        self.refused = 0  # since it was last told
        self._most = most
        self._taken = 0
        self._began = float("-inf")

    def take(self, now: float) -> bool:
        """Whether there is one left at monotonic time ``now``."""
        if now - self._began >= 1.0:
            self._began, self._taken = now, 0
        if self._taken == self._most:
            self.refused += 1
            return False
        self._taken += 1
        return True

    def tell_refused(self) -> int:
        """How many were refused since this was last asked."""
        refused, self.refused = self.refused, 0
        return refused
