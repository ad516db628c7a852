"""Let those who have much to say speak one after another, a little in each turn of the loop.

Who sends one message is heard at once. Who has sent many waits in a row with the others like him,
so that a turn of the loop costs about the same however many flood it.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

TURN: Final = 32
"""Messages that all together are heard in a turn, beside the first few of each read."""

_SHARE: Final = 4
"""Messages of one, while others wait."""

WEIGHT: Final = 13
"""A large message counts once more for each 8 KiB: this is their logarithm."""


class Speaker(Protocol):
    """Whoever has more to say."""

    def speak(self, budget: int) -> int:
        """Say as much as ``budget`` allows, and join again if there is more; what it cost."""


class Turns:
    """Of all connections of one loop."""

    __slots__ = ("_is_due", "_loop", "_waiting", "share")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.share = TURN
        """What may be heard at once of who isn't in the row."""
        self._loop = loop
        self._waiting: deque[Speaker] = deque()
        self._is_due = False

    def join(self, speaker: Speaker) -> None:
        """Wait for a turn, behind all others."""
        self._waiting.append(speaker)
        self.share = _SHARE
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._hear)

    def _hear(self) -> None:
        waiting = self._waiting
        left = TURN
        share = TURN if len(waiting) == 1 else _SHARE
        try:
            for _ in range(len(waiting)):  # nobody twice in a turn
                left -= waiting.popleft().speak(min(share, left))
                if left <= 0:
                    break
        finally:  # the fault of one must not keep the others waiting for ever
            self._is_due = bool(waiting)
            if waiting:
                self._loop.call_soon(self._hear)
            else:
                self.share = TURN
