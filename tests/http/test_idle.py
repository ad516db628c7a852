"""Idle connections: who hears of them, and how one changes hands."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from tercio.http.asgi import Receive, Scope, Send
from tercio.http.connection import Connection
from tercio.servers.tercio import TercioServer
from tests.http.harness import LIMIT, Running, serving

GET = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


def named(name: bytes) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        if scope["path"] == "/waits":
            await receive()  # the request
            await receive()  # the end of the connection
            return
        body = b"%b %b" % (name, scope["path"].encode())
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    return app


class Client:
    def __init__(self, running: Running) -> None:
        self.sock = socket.create_connection(running.address)
        self.sock.setblocking(False)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def answer(self) -> bytes:
        """The body of one small answer; b"" at the end of the connection."""
        loop = asyncio.get_running_loop()
        data = b""
        while not data.partition(b"\r\n\r\n")[2]:
            more = await asyncio.wait_for(loop.sock_recv(self.sock, 65536), LIMIT)
            if not more:
                return b""
            data += more
        return data.partition(b"\r\n\r\n")[2]

    async def ask(self, path: bytes) -> bytes:
        await self.send(GET % path)
        return await self.answer()


def connection_of(running: Running) -> Connection:
    """The only one."""
    assert isinstance(running.server, TercioServer)
    (found,) = running.server.service.connections
    assert isinstance(found, Connection)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0)


def test_a_connection_changes_hands_while_it_is_idle(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(named(b"one")) as one, serving(named(b"two")) as two:
            client = Client(one)
            assert await client.ask(b"a") == b"one /a"
            kept = connection_of(one).release()
            assert kept is not None
            # Nobody reads now: this waits in the kernel.
            await client.send(GET % b"b")
            await until(lambda: one.connections == 0)
            assert isinstance(two.server, TercioServer)
            two.server.adopt(kept)
            assert await client.answer() == b"two /b"
            assert await client.ask(b"c") == b"two /c"
            client.sock.close()
            await until(lambda: two.connections == 0)

    runner.run(main())


@pytest.mark.parametrize(
    "sent", [b"G", GET % b"waits", GET.replace(b"\r\n\r\n", b"\r\nX: ") % b"a"]
)
def test_a_connection_that_is_asked_something_stays(runner: asyncio.Runner, sent: bytes) -> None:
    async def main() -> None:
        async with serving(named(b"one")) as one:
            client = Client(one)
            assert await client.ask(b"a") == b"one /a"
            connection = connection_of(one)
            await client.send(sent)
            await until(lambda: not connection.is_answered)
            assert connection.release() is None
            client.sock.close()
            await until(lambda: one.connections == 0)

    runner.run(main())


class Witness:
    """A watch that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connection_busy(self, connection: object) -> None:
        self.told.append("busy")

    def connection_idle(self, connection: object) -> None:
        self.told.append("idle")

    def connection_upgraded(self, connection: object) -> None:
        self.told.append("upgraded")


def test_a_watch_is_told_of_each_change(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(named(b"one")) as one:
            witness = Witness()
            assert isinstance(one.server, TercioServer)
            one.server.service.watch = witness
            client = Client(one)
            await client.ask(b"a")
            assert witness.told == ["busy", "idle"]
            # Two at once are one time of work.
            await client.send(GET % b"a" + GET % b"b")
            await until(lambda: len(witness.told) == 4)
            assert witness.told[2:] == ["busy", "idle"]
            await client.answer()
            await client.send(
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await until(lambda: len(witness.told) == 6)
            assert witness.told[4:] == ["busy", "upgraded"]
            client.sock.close()
            await until(lambda: one.connections == 0)

    runner.run(main())
