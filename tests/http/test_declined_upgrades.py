"""Upgrades that are not followed: the request is served, or refused, as any other."""

import asyncio

import pytest

from tercio.http.asgi import Receive, Scope, Send
from tercio.servers.tercio import TercioServer
from tests.http.answers import answers, final
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.wire import Wire, exchange

pytestmark = pytest.mark.timeout(120)

OTHER = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
H2C = (
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
)
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def says_what_came(scope: Scope, receive: Receive, send: Send) -> None:
    """The path and the body."""
    body = scope["path"].encode() + b" "
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def gone(running: Running) -> None:
    """Wait until the service knows of nobody."""
    assert isinstance(running.server, TercioServer)
    async with asyncio.timeout(LIMIT):
        while running.server.service.connections:
            await asyncio.sleep(0.001)


def test_one_too_many_is_answered_once_and_leaves(loop: str) -> None:
    async def main() -> None:
        async with serving(
            says_what_came, lifespan="off", limit_concurrency=1, linger=0.1
        ) as running:
            for _ in range(3):
                (answer,) = answers(await exchange(running.address, [H2C]))
                assert (answer.status, answer.closes) == (503, True)
            await gone(running)
            assert (running.counts.opened, running.counts.made) == (0, 3)

    run(loop, main())


@pytest.mark.parametrize("number", [1, 100, 2000])
def test_those_that_come_together_are_all_served(loop: str, number: int) -> None:
    """More than may wait, and than the stack is deep."""

    async def main() -> None:
        async with serving(says_what_came, lifespan="off") as running:
            found = final(await exchange(running.address, [OTHER * number + LAST]))
            assert [answer.body for answer in found] == [b"/a "] * number + [b"/last "]
            assert running.counts.opened == 0

    run(loop, main())


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_their_bodies_are_read_as_they_are_framed(loop: str, framing: str) -> None:
    number = 300  # more than may wait
    inner = b"GET /inner HTTP/1.1\r\nHost: h\r\n\r\n"
    size = b"Content-Length: %d\r\n\r\n" % len(inner)
    body = inner
    if framing == "chunks":
        size = b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
    one = b"POST /p HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n" + size + body

    async def main() -> None:
        async with serving(says_what_came, lifespan="off") as running:
            found = final(await exchange(running.address, [one * number + LAST]))
            assert [answer.body for answer in found] == [b"/p " + inner] * number + [b"/last "]

    run(loop, main())


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 2\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_a_websocket_with_a_body_is_refused(loop: str, framing: bytes) -> None:
    async def main() -> None:
        async with serving(says_what_came, lifespan="off", linger=0.1) as running:
            (answer,) = answers(await exchange(running.address, [WEBSOCKET + framing]))
            assert (answer.status, answer.closes) == (400, True)
            assert (running.counts.opened, running.counts.begun) == (0, 0)

    run(loop, main())


def test_one_that_waits_for_its_turn_does_not_stop_what_is_behind_it(loop: str) -> None:
    let_go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            await let_go.wait()
        await says_what_came(scope, receive, send)

    async def main() -> None:
        async with serving(app, lifespan="off") as running, Wire(running.address) as wire:
            first = b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n"
            await wire.send([first + OTHER, OTHER, LAST])
            let_go.set()
            found = final(await wire.rest())
            assert [answer.body for answer in found] == [b"/waits ", b"/a ", b"/a ", b"/last "]

    run(loop, main())


def run(loop: str, main: object) -> None:
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main)  # type: ignore[arg-type]
