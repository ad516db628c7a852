"""Exchanges of several workers in one process: real sockets, real words, a host that remembers."""

import asyncio
import select
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tercio.dataplane.scoreboard import Field, WorkerPhase
from tercio.dataplane.shared import Shared
from tercio.handover.exchange import Exchange
from tercio.handover.offers import Offer
from tercio.http.luggage import Luggage

LIMIT = 15.0


class Home:
    """One worker as its exchange knows it."""

    def __init__(self, place: "Place", seat: int, incarnation: int) -> None:
        self.place = place
        self.seat = seat
        self.incarnation = incarnation
        self.room = 1000
        self.adopted: list[tuple[socket.socket, Luggage]] = []
        self.back: list[Offer] = []
        self.row = place.shared.scoreboard.row(seat)
        self.row[Field.PID] = 1
        self.row[Field.INCARNATION] = incarnation
        self.row[Field.PHASE] = WorkerPhase.SERVING
        shared = place.shared
        assert shared.tickets is not None
        assert shared.inboxes is not None
        self.exchange = Exchange(
            seat, incarnation, shared.scoreboard, shared.tickets, shared.inboxes
        )

    def open(self) -> Self:
        self.exchange.open(asyncio.get_running_loop(), self)
        return self

    def end(self, *, is_reaped: bool = True) -> None:
        """Be killed: nothing of it runs any more, and what it held is closed by the kernel."""
        self.place.loop.remove_reader(self.place.inboxes.fileno(self.seat))
        if self.exchange._timer is not None:
            self.exchange._timer.cancel()
        for sock, _ in self.adopted:
            sock.close()
        for offer in tuple(self.exchange._offers):
            offer.connection.close()
        if is_reaped:
            self.place.shared.release(self.seat)

    # The host

    def has_room(self, coming: int) -> bool:
        return len(self.adopted) + coming < self.room

    def adopt(self, connection: socket.socket, luggage: Luggage) -> None:
        self.adopted.append((connection, luggage))

    def came_back(self, offer: Offer) -> None:
        self.back.append(offer)

    def settled(self) -> None:
        pass


class Place:
    """``seats`` seats of one cluster."""

    def __init__(self, seats: int = 3) -> None:
        self.shared = Shared.create(seats, 1 << 16)
        assert self.shared.inboxes is not None
        self.inboxes = self.shared.inboxes
        self.loop = asyncio.get_running_loop()
        self.homes: list[Home] = []

    def home(self, seat: int, incarnation: int = 1) -> Home:
        home = Home(self, seat, incarnation)
        self.homes.append(home)
        return home

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        for home in self.homes:
            home.exchange.close()
            for sock, _ in home.adopted:
                sock.close()
            for offer in home.back:
                offer.connection.close()
        self.shared.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """A client and the connection that a server has accepted of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


async def until(condition: Callable[[], bool]) -> None:
    """Turn the loop until something is so."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)  # words in shared memory tell nobody


def is_ended(client: socket.socket) -> bool:
    """Whether the client was told of an end: nothing of a connection that moves may tell it."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True
