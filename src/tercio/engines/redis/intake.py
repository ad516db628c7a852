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

    def take(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Messages, in the loop's thread. What does not fit into a stretch waits."""
        handed = 0
        if not self._is_paused and not len(self._backlog) and not self._lost:
            handed = self._hand_over(messages)
        for topic, body in messages[handed:]:
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
        while len(self._backlog) and not self._is_paused and time.monotonic() < until:
            self._hand_over([self._backlog.pop()])
        self._drain_soon()

    def _hand_over(self, messages: list[tuple[bytes, bytes]]) -> int:
        """Give messages to the receiver for a stretch; the answer is how many."""
        routes = self.receiver.routes
        now = time.monotonic
        until = now() + _STRETCH
        for number, (topic, body) in enumerate(messages, 1):
            try:
                take = routes[topic]
                if take is not None:
                    take(body)
            except (Exception, asyncio.CancelledError):
                _log.exception("a message could not be taken")
            if self._is_paused or now() >= until:
                return number
        return len(messages)
