"""Move a worker's connections to its siblings, and serve those that siblings give it.

Which connections, and to whom, is said by others: the primary evens out, `departure` empties this
worker, `rescue` and sessions have their own reasons. What cannot be moved stays and is served.
Everything happens in the loop.
"""

import asyncio
import dataclasses
import operator
import socket
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from tercio.handover.consignment import Cause
from tercio.handover.departure import Departure
from tercio.handover.exchange import Exchange
from tercio.handover.offers import Offer
from tercio.http.connection import Connection
from tercio.http.luggage import Luggage
from tercio.http.service import Service
from tercio.http.transports import bytes_wait
from tercio.servers.tercio import TercioServer

_STEP: Final = 32
"""Connections on their way to one worker: should it be stopped just now, no more wait for it."""

_LOOKED_AT: Final = 512
"""Connections among which those that were used last are found: all would hold the loop for long."""

_TRIES: Final = 10
_TRY_AGAIN: Final = 0.02
"""Seconds between two looks for connections at rest that are to be given away."""

_last_used: Final = operator.attrgetter("since", "asked")


class Mover:
    """Of one worker whose ``server`` is our own, without TLS: an `exchange.Host`."""

    def __init__(self, exchange: Exchange, server: TercioServer) -> None:
        self.exchange = exchange
        self.server = server
        self.departure: Departure | None = None
        self._debts: dict[int, tuple[int, int]] = {}  # by seat: connections, and tries left

    @property
    def service(self) -> Service:
        """The server's connections."""
        return self.server.service

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take connections from now on. The server is started."""
        self.exchange.open(loop, self)

    def depart(self, heirs: Sequence[int]) -> Departure:
        """What a drain sends connections away by: to the workers in these seats, or any."""
        if self.departure is None:
            self.departure = Departure(self, heirs, asyncio.get_running_loop())
        return self.departure

    def give(self, count: int, to: int) -> int:
        """Give up to ``count`` idle connections to the worker in seat ``to``.

        Every other one of those that were used last goes first: behind a proxy that prefers them,
        as nginx does, the rest brings no requests. Those that have bytes waiting stay: they are
        about to be busy. Returns how many were given.
        """
        given = 0
        used = sorted(islice(self.idle(), _LOOKED_AT), key=_last_used, reverse=True)
        for connection in (*used[::2], *used[1::2]):
            if given >= count or not self.can_give(to):
                break
            if not bytes_wait(connection.transport):
                given += self.move(connection, Cause.REBALANCE, to)
        return given

    def owe(self, count: int, to: int) -> None:
        """Give them as they come to rest, those that are busy now a little later."""
        is_paying = bool(self._debts)
        self._debts[to] = count, _TRIES
        if not is_paying:
            self._pay()

    def _pay(self) -> None:
        for to, (count, tries) in list(self._debts.items()):
            left = count - self.give(count, to)
            if left > 0 and tries > 1:
                self._debts[to] = left, tries - 1
            else:
                del self._debts[to]
        if self._debts:
            asyncio.get_running_loop().call_later(_TRY_AGAIN, self._pay)

    def can_give(self, to: int) -> bool:
        """Whether it is worth while to take a connection out of the loop for that seat."""
        has_room = self.exchange.room > 0 and self.exchange.on_their_way(to) < _STEP
        return has_room and self.exchange.sibling(to) is not None

    def move(self, connection: Connection, cause: Cause, to: int, data: bytes = b"") -> bool:
        """Give one idle connection away. False: it is still ours, and served.

        ``data`` was read of it and not taken: the next one begins with it.
        """
        luggage = dataclasses.replace(connection.pack(), data=data)
        kept = connection.release()
        if kept is None:
            return False
        if self.exchange.give(kept, luggage, cause, to):
            return True
        self.server.adopt(kept, dataclasses.replace(luggage, is_back=bool(data)))
        return False

    def idle(self) -> Iterator[Connection]:
        """The connections that could move now."""
        for peer in list(self.service.connections):
            if isinstance(peer, Connection) and peer.is_idle and peer.claim():
                yield peer

    # What the exchange asks and tells

    def has_room(self, coming: int) -> bool:
        # What is on its way may come back, and has to have room then.
        return self.server.has_room(coming + self.exchange.outstanding)

    def adopt(self, connection: socket.socket, luggage: Luggage) -> None:
        self.server.adopt(connection, luggage)

    def came_back(self, offer: Offer) -> None:
        if self.departure is not None:
            sent = offer.consignment
            self.departure.refused(sent.to, sent.to_incarnation)
        self.server.adopt(offer.connection, offer.luggage)

    def settled(self) -> None:
        if self.departure is not None:
            self.departure.arrived()
