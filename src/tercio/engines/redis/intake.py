"""Messages from elsewhere for one receiver of the bridge's process, handed over in short stretches.

A stretch is bounded, so that a flood leaves the loop to others. Nobody on another host can be held
up: what is too much while a receiver is slow or paused is lost, and counted.
"""

import asyncio
import logging
import time
from typing import Final

from tercio.bus.engine import Receiver
from tercio.engines.redis.backlog import Backlog

_log: Final = logging.getLogger("tercio.redis")

_STRETCH: Final = 0.002  # seconds of one drain
_ROOM: Final = 4 << 20


class Intake:
    """What waits for ``receiver``."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._backlog = Backlog(_ROOM)
        self._lost = 0
        self._is_paused = False
        self._is_due = False

    def take(self, topic: bytes, body: bytes) -> None:
        """A message, in the loop's thread."""
        self._lost += self._backlog.push(topic, body)
        self._drain_soon()

    def pause(self) -> None:
        """Hand nothing over until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on."""
        self._is_paused = False
        self._drain_soon()

    def close(self) -> None:
        """Hand nothing over any more."""
        self._is_paused = True
        self._backlog.clear()

    def _drain_soon(self) -> None:
        if not self._is_due and not self._is_paused and (len(self._backlog) or self._lost):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._is_due = False
        if self._lost and not self._is_paused:
            lost, self._lost = self._lost, 0
            self.receiver.lost(lost, 0)
        until = time.monotonic() + _STRETCH
        while len(self._backlog) and not self._is_paused:
            topic, body = self._backlog.pop()
            try:
                take = self.receiver.routes[topic]
                if take is not None:
                    take(body)
            except Exception:
                _log.exception("a message could not be taken")
            if time.monotonic() >= until:
                break
        self._drain_soon()
