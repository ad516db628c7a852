"""Accept from the queues of other slots: when the primary says so, or when it cannot say anything.

The primary sees to it that no queue grows old. One that is stopped, swapped out or busy for seconds
sees nothing, and the kernel goes on to fill the queue of a worker that is blocked or dead. Then
each worker that runs looks itself, as often as its watchdog beats.
"""

import asyncio
import socket
import time
from contextlib import suppress
from typing import Final

from tercio.dataplane.scoreboard import Fact, Field, Scoreboard
from tercio.servers.port import Server
from tercio.system import queues
from tercio.worker.record import BootRecord

_STALE: Final = 2_000_000_000
"""Nanoseconds since the primary's last look, at the least; it looks with each of its samples."""


class OtherSlots:
    """Their listeners, which all workers have inherited, and ``server``, which may accept there."""

    def __init__(self, record: BootRecord, scoreboard: Scoreboard, server: Server) -> None:
        self._scoreboard = scoreboard
        self._row = scoreboard.row(record.seat)
        self._server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        count = max((len(bound.slots) for bound in record.listeners), default=0)
        self._listeners = {
            slot: [socket.socket(fileno=fd) for fd in record.others(slot)]
            for slot in range(count)
            if slot != record.slot
        }

    def steal(self, slot: int, count: int) -> None:
        """Accept up to ``count`` connections that wait in the queue of a slot. In the loop."""
        self._row[Field.STOLEN] += self._server.steal(self._listeners.get(slot, ()), count)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on `look` does something."""
        self._loop = loop

    def look(self) -> None:
        """Do what the primary does not do, if it does not. In any thread."""
        looked = self._scoreboard.fact(Fact.LOOKED)
        if self._loop is None or not looked or time.monotonic_ns() - looked < _STALE:
            return
        for slot, listeners in self._listeners.items():
            if waiting := sum(queues.waiting(listener) for listener in listeners):
                with suppress(RuntimeError):  # the loop is closed: this worker is ending
                    self._loop.call_soon_threadsafe(self.steal, slot, waiting)
