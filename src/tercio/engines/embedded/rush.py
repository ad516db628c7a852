"""Whether so much comes that to be woken for each message costs more than to look by the clock."""

import time
from typing import Final

PAUSE: Final = 0.001
"""Seconds to the next look in a rush: what a message waits at most."""

_OFTEN: Final = 16  # wake-ups within `PAUSE`
_SHARE: Final = 8  # of a ring, which nothing may fill so fast that it is lapped during a pause


class Rush:
    """Counts how often there was nothing left to read."""

    def __init__(self, capacity: int) -> None:
        """``capacity`` in bytes of a ring."""
        self._most = capacity // _SHARE
        self._count = 0
        self._begun = 0.0
        self._total = 0

    def is_on(self, heads: "memoryview[int]") -> bool:
        """Whether it is one, when all of the rings was read up to ``heads``."""
        self._count += 1
        if self._count < _OFTEN:
            return False
        now, total = time.monotonic(), sum(heads)
        is_on = now - self._begun < PAUSE and total - self._total < self._most
        # The next count begins after the pause, and not with it.
        self._count = _OFTEN - 1 if is_on else 0
        self._begun, self._total = now, total
        return is_on
