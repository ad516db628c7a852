"""The sibling of a real worker: an exchange in seat 0 of its rig, on a loop in a thread."""

import asyncio
import os
import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tercio.dataplane.scoreboard import Field
from tercio.handover.consignment import Cause
from tercio.http.luggage import Luggage
from tests.handover.exchanges import Home
from tests.worker.rig import LIMIT, Client, Rig, until

T = TypeVar("T")


class Elsewhere:
    """Takes what the worker gives, reads none of it, and gives what a test has."""

    def __init__(self, rig: Rig) -> None:
        assert rig.shared.inboxes is not None
        self.rig = rig
        self.shared = rig.shared
        self.inboxes = rig.shared.inboxes
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._open)
        self.loop.run_forever()

    def _open(self) -> None:
        self.home = Home(self, 0, 1)  # type: ignore[arg-type]  # as much of a `Place` as it needs
        self.home.open()
        self._ready.set()

    def call(self, do: Callable[[], T]) -> T:
        """Do something in the loop's thread."""

        async def run() -> T:
            return do()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(LIMIT)

    def give(self, connection: socket.socket, luggage: Luggage | None = None) -> bool:
        """Give a connection to the worker."""
        luggage = Luggage(asked=1) if luggage is None else luggage
        return self.call(lambda: self.home.exchange.give(connection, luggage, Cause.DRAIN, to=1))

    def take_from(self, rig: Rig, count: int) -> None:
        """Have the worker give connections to this one."""
        had = len(self.home.adopted)
        rig.send(type="give", count=count, to=0)
        until(lambda: len(self.home.adopted) == had + count)

    def settle(self) -> None:
        """Wait until nothing is on its way from here."""
        until(lambda: not self.home.exchange.outstanding)
        self.call(lambda: None)  # the turn that settled the last of them

    def wait_until_heard(self) -> None:
        """Wait until everything that was sent here is taken."""
        inlet = self.inboxes.fileno(0)
        poll = select.poll()
        poll.register(inlet, select.POLLIN)
        until(lambda: not poll.poll(0))
        self.call(lambda: None)  # the turn that took the last of them

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(LIMIT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        def close() -> None:
            self.home.exchange.close()
            for sock, _ in self.home.adopted:
                sock.close()
            for offer in self.home.back:
                offer.connection.close()
            self.loop.stop()

        self.loop.call_soon_threadsafe(close)
        self._thread.join(LIMIT)
        self.loop.close()


def kept(rig: Rig, count: int) -> list[Client]:
    """Clients with connections that the worker has answered once, and keeps."""
    clients = [rig.connect() for _ in range(count)]
    for client in clients:
        client.ask("/")
        assert client.answer()[0] == 200
    rig.count(Field.CONNECTIONS, count)
    return clients


def descriptors(rig: Rig) -> int:
    """How many the worker has."""
    return len(os.listdir(f"/proc/{rig.process.pid}/fd"))
