"""Take what waits for a blocked loop out of it, and give it to siblings.

Three kinds of connections can be saved while the loop is in a step of a task: idle ones that have
something to say, those that were accepted as the last thing before it, and those whose request was
read, whole, but whose application was not called yet, because another one's turn came first.
"""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from tercio.handover.consignment import Cause
from tercio.handover.detaching import Detacher
from tercio.handover.moments import Moment
from tercio.handover.mover import Mover
from tercio.http.connection import Connection
from tercio.http.luggage import Luggage
from tercio.http.request import Request
from tercio.http.transports import bytes_left, descriptor_of
from tercio.system import held

_MOST: Final = 2000
"""Connections a second that are moved: more would be ping-pong among workers that all block."""


class Saver:
    """Of one loop's rescue; for its thread."""

    def __init__(self, mover: Mover, loop: asyncio.AbstractEventLoop, detacher: Detacher) -> None:
        self._mover = mover
        self._exchange = mover.exchange
        self._loop = loop
        self._detacher = detacher
        self._left = 0.0  # connections that may be moved now
        self._filled = 0.0  # when that was

    def save(self, moment: Moment) -> int:
        """Give away what can be given; how many connections it was."""
        return self._save_idle(moment) + self._save_arrivals(moment) + self._save_asked(moment)

    def _save_idle(self, moment: Moment) -> int:
        found = dict(self._candidates())
        moved: list[Connection] = []
        taken = 0
        try:
            for fd in held.readable(found) if found else ():
                if not self._may_move():
                    break
                connection, asked = found[fd]
                luggage = connection.pack()
                kept = self._detacher.detach(connection, fd, asked, moment)
                if kept is None:
                    continue
                moved.append(connection)
                taken += self._give(kept, luggage)
        finally:
            self._bury(moved)
        return taken

    def _candidates(self) -> Iterator[tuple[int, tuple[Connection, int]]]:
        """Connections at rest, by descriptor, each with the number of its requests."""
        # The loop's own epoll tells which descriptors have something to say: thousands of
        # connections that have not must not keep the lock from the handler that computes.
        ready = held.ready(self._detacher.epoll)
        for peer in list(self._mover.server.service.connections):
            if ready is not None and descriptor_of(peer.transport) not in ready:
                continue
            if not isinstance(peer, Connection) or not peer.is_at_rest or peer.is_released:
                continue
            asked = peer.asked  # before the look at its buffer: at rest, it only empties
            with suppress(AttributeError, OSError, RuntimeError, ValueError):  # it closes just now
                if not bytes_left(peer.transport) and not peer.transport.is_closing():
                    yield descriptor_of(peer.transport), (peer, asked)

    def _save_arrivals(self, moment: Moment) -> int:
        found = {each.connection.fileno(): each for each in self._mover.server.arrivals()}
        found.pop(-1, None)
        taken = 0
        for fd in held.readable(found) if found else ():
            if not self._may_move():
                break
            # Of one that has a protocol, the end of its setting up closes what is left, or we do.
            protocol = found[fd].protocol
            if protocol is None:
                kept = self._detacher.detach_arrival(found[fd], fd, moment)
            elif isinstance(protocol, Connection):
                # With a protocol it is one at rest, that nobody has asked anything of.
                kept = self._detacher.detach(protocol, fd, 0, moment)
                self._bury([protocol] if kept is not None else [])
            else:
                kept = None
            if kept is not None:
                taken += self._give(kept, Luggage())
        return taken

    def _save_asked(self, moment: Moment) -> int:
        if self._mover.server.router is not None:
            return 0  # each was read here because its session is here
        found = dict(self._unbegun())
        moved: list[Connection] = []
        taken = 0
        try:
            for fd in set(found) - held.hung_up(found) if found else ():
                if not self._may_move():
                    break
                request, asked, luggage = found[fd]
                connection = request.connection
                kept = self._detacher.detach_asked(connection, fd, request, asked, moment)
                if kept is None:
                    continue
                moved.append(connection)
                taken += self._give(kept, luggage)
        finally:
            self._bury(moved)
        return taken

    def _unbegun(self) -> Iterator[tuple[int, tuple[Request, int, Luggage]]]:
        """Requests that wait for their turn, by descriptor, with their connection's number."""
        for request in list(self._mover.server.service.running):
            connection = request.connection
            asked = connection.asked
            # An application's own kind of tasks has no coroutine that could be looked at.
            with suppress(AttributeError, OSError, RuntimeError, TypeError, ValueError):
                if connection.unbegun is not request or connection.is_released:
                    continue
                transport = connection.transport
                if not bytes_left(transport) and not transport.is_closing():
                    yield descriptor_of(transport), (request, asked, connection.pack_unbegun())

    def _may_move(self) -> bool:
        now = time.monotonic()
        self._left = min(self._left + (now - self._filled) * _MOST, _MOST / 10)
        self._filled = now
        return self._left >= 1 and self._exchange.room > 0 and self._exchange.best() is not None

    def _give(self, kept: socket.socket, luggage: Luggage) -> bool:
        self._left -= 1
        if self._exchange.give(kept, luggage, Cause.RESCUE):
            return True
        self._loop.call_soon_threadsafe(self._mover.server.adopt, kept, luggage)
        return False

    def _bury(self, moved: list[Connection]) -> None:
        if moved:
            self._loop.call_soon_threadsafe(_bury, moved)


def _bury(connections: list[Connection]) -> None:
    """In the loop, when it turns again: what is left of them is a transport with a dummy."""
    for connection in connections:
        if not connection.is_lost and getattr(connection, "transport", None) is not None:
            connection.abort()
