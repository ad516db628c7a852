"""Clients that send requests ahead: what waits for its turn is bounded, fair, and not forgotten."""

import asyncio
import gc
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tercio.http.asgi import Receive, Scope, Send
from tercio.http.connection import Connection
from tercio.http.request import HIGH_WATER, Request
from tercio.servers.tercio import TercioServer
from tests.http.answers import final
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.pages import MIB, answer
from tests.http.wire import Wire

pytestmark = pytest.mark.timeout(120)

GET = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/waits":
        while (await receive())["type"] != "http.disconnect":
            pass
    else:
        await answer(send, 200, b"here")


def connection_of(running: Running) -> Connection:
    """The only one."""
    assert isinstance(running.server, TercioServer)
    (found,) = running.server.service.connections
    assert isinstance(found, Connection)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


# Time-outs of heads


def test_each_head_has_its_own_time(loop: str) -> None:
    """Pieces that end within a head, as packets do, are no head that takes long."""

    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            assert isinstance(running.server, TercioServer)
            service = running.server.service
            one = GET % b"a"
            await wire.send([one[:10]])
            for number in range(1, 6):
                # Time passes as if nobody had sent for a while, which is not too long.
                service.now += service.limits.head_timeout * 0.7
                await wire.send([one[10:] + one[:10]])
                await until(lambda: len(running.counts.statuses) == number)  # noqa: B023
                await until(lambda: connection_of(running).in_head)
                connection_of(running).sweep(service.now)
            assert running.counts.statuses == [200] * 5
            assert connection_of(running).in_head
            connection_of(running).sweep(service.now + service.limits.head_timeout + 1)
            assert [each.status for each in final(await wire.rest())] == [200] * 5 + [408]

    run(loop, main())


# Memory


def test_of_thousands_that_come_together_few_are_kept(loop: str) -> None:
    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            wire.sock.send((GET % b"waits") + (GET % b"a") * 4000)
            await until(lambda: running.counts.begun == 1)
            await wire.turns(30)
            gc.collect()
            assert sum(isinstance(each, Request) for each in gc.get_objects()) < 500

    run(loop, main())


# Clients that vanish


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("behind", ["a body", "half a head", "half a head and more"])
def test_who_vanishes_behind_a_long_request_is_noticed(loop: str, behind: str, end: str) -> None:
    async def main() -> None:
        async with (
            serving(app, lifespan="off", timeout_write=1.0) as running,
            Wire(running.address) as wire,
        ):
            await wire.send([GET % b"waits"])
            await until(lambda: running.counts.begun == 1)
            connection = connection_of(running)
            if behind == "a body":
                head = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n"
                await wire.send([head + bytes(HIGH_WATER + 1)])
                await until(lambda: not (connection.receiving or connection.current).has_room)  # type: ignore[union-attr]
            else:
                await wire.send([(GET % b"a") * 40 + b"GET / HTTP/1.1\r\nX: "])
                await until(lambda: connection.in_head)
                if behind == "half a head and more":  # which nobody reads
                    await wire.send([b"y" * 1000])
            if end == "rst":
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.sock.close()
            await until(lambda: running.connections == 0)
            assert running.counts.in_flight == 0

    run(loop, main())


# WebSockets behind an answer


def test_a_websocket_behind_a_large_answer_waits_for_the_client(loop: str) -> None:
    """The transport is full before it begins, and says so once only."""
    messages, size, big = 100, 100_000, 16 * MIB
    sent = 0

    async def pages(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["type"] == "http":
            await answer(send, 200, bytes(big))
            return
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(messages):
            await send({"type": "websocket.send", "bytes": bytes(size)})
            sent += 1
            await asyncio.sleep(0)
        await receive()  # the end of the connection

    async def main() -> None:
        options: dict[str, Any] = {
            "lifespan": "off",
            "ws_per_message_deflate": False,
            "ws_ping_interval": 0,
        }
        async with serving(pages, **options) as running, Wire(running.address) as wire:
            await wire.send([(GET % b"big") + WEBSOCKET])
            await until(lambda: running.counts.opened == 1)
            await wire.turns(10 * messages)
            assert sent < messages / 2
            received = 0
            async with asyncio.timeout(LIMIT):
                while received < big + messages * size:
                    received += len(await wire.receive())
            await until(lambda: sent == messages)
            wire.sock.close()
            await until(lambda: running.counts.closed == 1)

    run(loop, main())


def run(loop: str, main: object) -> None:
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main)  # type: ignore[arg-type]
