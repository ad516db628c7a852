"""Whether the server is reached, since when, and why not."""

import logging
import time
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger("tercio.redis")
_AGAIN: Final = 5.0  # two reasons that take turns would fill the log


class Readiness:
    """What is known of one connection, for whoever decides what to make of it."""

    def __init__(self, place: str) -> None:
        self.is_up = False
        self.since = time.monotonic()
        """When it last went up or down, by the monotonic clock."""
        self.reason = "not connected yet"
        """Why it is down; empty while it is up."""
        self.changed: Callable[[bool], None] | None = None
        """Called in the loop's thread when it goes up or down."""
        self._place = place
        self._was_up = False
        self._told = -_AGAIN

    def up(self) -> None:
        """The server answers."""
        if self.is_up:
            return
        if self._was_up:
            _log.info("%s is back after %.1f s", self._place, time.monotonic() - self.since)
        self._turn(True, "")
        self._was_up = True

    def down(self, reason: str) -> None:
        """The server does not answer. Logged when it goes, and when the reason is another one."""
        now = time.monotonic()
        if self.is_up or (reason != self.reason and now - self._told >= _AGAIN):
            self._told = now
            _log.warning("%s is away: %s", self._place, reason)
        if self.is_up:
            self._turn(False, reason)
        else:
            self.reason = reason

    def closed(self) -> None:
        """Nobody looks any more; this is not logged."""
        if self.is_up:
            self._turn(False, "it was closed")

    def _turn(self, is_up: bool, reason: str) -> None:
        self.is_up, self.reason, self.since = is_up, reason, time.monotonic()
        if self.changed is not None:
            self.changed(is_up)
