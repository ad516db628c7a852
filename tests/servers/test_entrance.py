"""A server takes as many connections as it may hold, and the next when one leaves."""

import asyncio
import errno
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from time import monotonic
from typing import Any, cast

import pytest
import trustme

from tercio.servers.entrance import Entrance, Turns
from tests.http.harness import LIMIT, factory

AUTHORITY = trustme.CA()


class Listener(socket.socket):
    """A listener that counts what is asked of it, and can have no descriptor left."""

    asked = 0
    error: int = 0

    def _accept(self) -> tuple[int, Any]:
        self.asked += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        accepted: tuple[int, Any] = super()._accept()  # type: ignore[misc]
        return accepted


class Echo(asyncio.Protocol):
    def __init__(self, here: "Here") -> None:
        self._here = here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._here.connections.append(self)
        self._here.changed.set()

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._here.connections.remove(self)
        self._here.changed.set()
        self._here.entrance.look()


class Here:
    """An entrance, and what came in."""

    def __init__(
        self, listener: Listener, limit: int, tls: ssl.SSLContext | None, turns: Turns | None
    ) -> None:
        self.listener = listener
        self.connections: list[Echo] = []
        self.notes: list[str] = []
        self.settled = 0
        self.changed = asyncio.Event()
        self.clients: list[socket.socket] = []
        self.entrance = Entrance(
            [listener],
            lambda: Echo(self),
            tls,
            limit=limit,
            held=lambda: len(self.connections),
            settled=self._settle,
            note=lambda level, text: self.notes.append(f"{level}: {text}"),
            turns=turns,
        )

    def _settle(self) -> None:
        self.settled += 1
        self.changed.set()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.listener.getsockname(), LIMIT)
        client.setblocking(False)
        self.clients.append(client)
        return client

    async def hold(self, number: int) -> None:
        """Wait until so many are in, and none is on its way."""
        async with asyncio.timeout(LIMIT):
            while len(self.connections) != number or self.entrance.arrivals:
                self.changed.clear()
                await self.changed.wait()


async def turns(number: int = 50) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def answers(client: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"x")
    return await asyncio.wait_for(loop.sock_recv(client, 1), LIMIT) == b"x"


@contextmanager
def listening() -> Iterator[Listener]:
    with Listener(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@asynccontextmanager
async def entrance(
    limit: int = 3, tls: ssl.SSLContext | None = None, turns: Turns | None = None
) -> AsyncIterator[Here]:
    with listening() as listener:
        here = Here(listener, limit, tls, turns)
        here.entrance.resume()
        yield here
        here.entrance.pause()
        here.entrance.drop_arrivals()
        for client in here.clients:
            client.close()
        await here.hold(0)


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    def run(awaitable: Awaitable[None]) -> None:
        async def main() -> None:
            await awaitable

        with asyncio.Runner(loop_factory=factory(request.param)) as runner:
            runner.run(main())

    return run


Run = Callable[[Awaitable[None]], None]


def test_beyond_the_limit_connections_wait_until_one_leaves(run: Run) -> None:
    async def main() -> None:
        async with entrance(limit=3) as here:
            clients = [here.connect() for _ in range(5)]
            await here.hold(3)
            before = here.listener.asked
            await turns()
            # Two connections wait, and nobody asks for them again and again.
            assert here.listener.asked == before
            assert len(here.connections) == 3
            clients[0].close()
            assert await answers(clients[3])
            assert len(here.connections) == 3
            clients[1].close()
            assert await answers(clients[4])

    run(main())


def test_one_note_says_so(run: Run) -> None:
    async def main() -> None:
        async with entrance(limit=1) as here:
            clients = [here.connect() for _ in range(4)]
            for client in clients:
                assert await answers(client)
                client.close()
            (note,) = here.notes
            assert note == (
                "warning: accepting nothing until a connection leaves: there are 1 "
                "(see --limit-connections)"
            )

    run(main())


def test_a_handshake_takes_a_place_and_gives_it_back(run: Run) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        async with entrance(limit=1, tls=context) as here:
            silent = here.connect()
            here.connect()
            async with asyncio.timeout(LIMIT):
                while not here.notes:
                    await asyncio.sleep(0)
            assert here.entrance.arrivals == 1
            before = here.listener.asked
            await turns()
            assert here.listener.asked == before
            silent.close()
            async with asyncio.timeout(LIMIT):
                while here.listener.asked == before:
                    await asyncio.sleep(0)

    run(main())


def test_without_descriptors_nothing_spins_and_a_leave_is_heard_at_once(run: Run) -> None:
    async def main() -> None:
        async with entrance() as here:
            first = here.connect()
            assert await answers(first)
            here.listener.error = errno.EMFILE
            second = here.connect()
            async with asyncio.timeout(LIMIT):
                while not here.notes:
                    await asyncio.sleep(0)
            before = here.listener.asked
            await turns()
            assert here.listener.asked == before
            here.listener.error = 0
            first.close()
            assert await answers(second)
            (note,) = here.notes
            assert note == (
                "warning: accepting nothing for 1 s, or until a connection leaves: "
                "Too many open files"
            )

    run(main())


def test_without_descriptors_it_is_tried_again_in_a_while(run: Run) -> None:
    async def main() -> None:
        async with entrance() as here:
            here.listener.error = errno.ENFILE
            client = here.connect()
            async with asyncio.timeout(LIMIT):
                while not here.notes:
                    await asyncio.sleep(0)
            here.listener.error = 0
            assert await answers(client)

    run(main())


def test_a_closed_entrance_stays_closed_whoever_leaves(run: Run) -> None:
    async def main() -> None:
        async with entrance(limit=1) as here:
            first, second = here.connect(), here.connect()
            await here.hold(1)
            await turns()
            here.entrance.pause()
            first.close()
            await here.hold(0)
            await turns()
            assert here.connections == []
            here.entrance.resume()
            assert await answers(second)

    run(main())


def test_a_connection_from_elsewhere_is_let_in_always(run: Run) -> None:
    async def main() -> None:
        async with entrance(limit=1) as here:
            assert await answers(here.connect())
            here.entrance.pause()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            here.clients.append(ours)
            here.entrance.adopt(theirs)
            assert here.entrance.arrivals == 1
            assert await answers(ours)
            await here.hold(2)

    run(main())


def test_both_loops_send_small_answers_at_once(run: Run) -> None:
    async def main() -> None:
        async with entrance() as here:
            assert await answers(here.connect())
            sock = here.connections[0].transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main())


def test_no_limit_means_a_share_of_the_descriptors() -> None:
    async def main() -> None:
        async with entrance(limit=0) as here:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            assert int(soft * 0.8) < here.entrance._limit < int(soft * 0.9)

    asyncio.run(main())


# Queues of others


def test_what_waits_at_a_listener_of_another_is_taken_once_and_up_to_a_number(run: Run) -> None:
    async def main() -> None:
        with listening() as foreign:
            async with entrance(limit=10) as here:
                clients = [socket.create_connection(foreign.getsockname()) for _ in range(5)]
                here.clients += clients
                for client in clients:
                    client.setblocking(False)
                assert here.entrance.steal([foreign], 3) == 3
                assert await answers(clients[2])
                await here.hold(3)
                assert here.entrance.steal([foreign], 100) == 2
                assert await answers(clients[4])
                assert here.entrance.steal([foreign], 100) == 0
                later = socket.create_connection(foreign.getsockname())
                here.clients.append(later)
                await turns()
                await here.hold(5)  # nobody has ordered to take that one

    run(main())


def test_nothing_is_taken_from_another_beyond_the_limit_or_when_closed(run: Run) -> None:
    async def main() -> None:
        with listening() as foreign:
            async with entrance(limit=2) as here:
                here.clients += [socket.create_connection(foreign.getsockname()) for _ in range(3)]
                assert here.entrance.steal([foreign], 3) == 2
                await here.hold(2)
                here.entrance.pause()
                here.clients[0].close()
                await here.hold(1)
                assert here.entrance.steal([foreign], 3) == 0

    run(main())


def test_over_tls_what_is_taken_from_another_is_spoken_to_in_tls(run: Run) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        client_context = ssl.create_default_context()
        AUTHORITY.configure_trust(client_context)
        with listening() as foreign:
            async with entrance(tls=context) as here:
                opening = asyncio.open_connection(*foreign.getsockname(), ssl=client_context)
                client = asyncio.create_task(opening)
                while not here.entrance.steal([foreign], 1):
                    await asyncio.sleep(0)
                reader, writer = await asyncio.wait_for(client, LIMIT)
                writer.write(b"x")
                assert await asyncio.wait_for(reader.readexactly(1), LIMIT) == b"x"
                writer.close()
                await writer.wait_closed()

    run(main())


def test_at_the_end_what_waits_is_taken_and_then_nobody(run: Run) -> None:
    async def main() -> None:
        async with entrance(limit=10) as here:
            clients = [here.connect() for _ in range(5)]
            here.entrance.finish()
            await here.hold(5)
            here.connect()
            await turns()
            assert len(here.connections) == 5
            for client in clients:
                assert await answers(client)

    run(main())


# Turns at a listener that is shared


class Turn:
    """Says whose turn it is as the test wants, and notes when it is asked."""

    def __init__(self) -> None:
        self.others = False
        self.times: list[float] = []

    @property
    def asked(self) -> int:
        return len(self.times)

    def is_shared(self, listener: socket.socket) -> bool:
        return True

    def is_anothers(self, held: int) -> bool:
        self.times.append(monotonic())
        return self.others


def test_a_connection_is_left_to_another_as_long_as_that_may_want_it(run: Run) -> None:
    async def main() -> None:
        turn = Turn()
        async with entrance(limit=10, turns=turn) as here:
            first = here.connect()
            assert await answers(first)
            turn.others = True
            turn.times.clear()
            second = here.connect()
            async with asyncio.timeout(LIMIT):
                while turn.asked < 3:
                    await asyncio.sleep(0)
            assert len(here.connections) == 1
            # It waits in between, although the loop turns as fast as it can.
            assert all(after - before > 0.0005 for before, after in pairwise(turn.times))
            turn.others = False
            assert await answers(second)

    run(main())


def test_what_nobody_else_takes_is_taken_in_the_end(run: Run) -> None:
    async def main() -> None:
        turn = Turn()
        turn.others = True
        async with entrance(limit=10, turns=turn) as here:
            assert await answers(here.connect())
            assert turn.asked == 10

    run(main())


def test_nobody_asks_while_no_connection_waits(run: Run) -> None:
    async def main() -> None:
        turn = Turn()
        async with entrance(limit=10, turns=turn) as here:
            turn.others = True
            assert await answers(here.connect())
            asked = turn.asked
            await asyncio.sleep(0.05)  # for what must not happen there is no event
            assert turn.asked == asked
            assert here.entrance._yield is None

    run(main())


def test_a_pause_ends_the_wait_for_another(run: Run) -> None:
    async def main() -> None:
        turn = Turn()
        turn.others = True
        async with entrance(limit=10, turns=turn) as here:
            here.connect()
            async with asyncio.timeout(LIMIT):
                while not turn.asked:
                    await asyncio.sleep(0)
            here.entrance.pause()
            asked = turn.asked
            await asyncio.sleep(0.05)  # for what must not happen there is no event
            assert turn.asked == asked
            assert here.connections == []

    run(main())
