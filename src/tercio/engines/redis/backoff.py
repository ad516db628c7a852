"""How long to wait before the next attempt to connect. Pure: chance is an argument."""

from collections.abc import Callable
from typing import Final

FIRST: Final = 0.05
MOST: Final = 0.8
"""With an attempt of a second, a server that is back is found within two."""


class Backoff:
    """Doubles up to `MOST`; each pause is 50 to 100 % of it, so that not all come at once."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._next = FIRST

    def pause(self) -> float:
        """Seconds until the next attempt."""
        pause = self._next * (0.5 + self._chance() / 2)
        self._next = min(MOST, self._next * 2)
        return pause

    def reset(self) -> None:
        """An attempt succeeded, and held."""
        self._next = FIRST
