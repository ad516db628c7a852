"""An application may cancel tasks that are not its own, even before their first step."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tercio.http.asgi import Receive, Scope, Send
from tercio.servers.tercio import TercioServer
from tests.http.answers import answers
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.pages import answer
from tests.http.wire import Wire

pytestmark = pytest.mark.timeout(120)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


class Meddler:
    """Cancels all tasks that it finds, but those that were there before."""

    def __init__(self) -> None:
        self.known: set[asyncio.Task[Any]] = set()
        self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        me = asyncio.current_task()
        for task in asyncio.all_tasks() - self.known:
            if task is not me:
                self.cancelled += 1
                task.cancel()
        if scope["type"] == "http":
            await answer(send, 200, b"here")


async def meet(running: Running, meddler: Meddler, *wires: tuple[Wire, bytes]) -> None:
    """All requests are read in one turn of the loop, so that the first one meets the others."""
    await until(lambda: running.connections == len(wires))
    await wires[0][0].turns(10)
    meddler.known = asyncio.all_tasks()
    for wire, data in wires:
        assert wire.sock.send(data) == len(data)
    await until(lambda: running.counts.begun + running.counts.opened == len(wires))


def nothing_runs(running: Running) -> bool:
    assert isinstance(running.server, TercioServer)
    return not running.server.service.running


def test_whoever_is_cancelled_before_it_begins_is_answered(loop: str) -> None:
    async def main() -> None:
        meddler = Meddler()
        options: dict[str, Any] = {"lifespan": "off", "timeout_keep_alive": 1.0}
        async with (
            serving(meddler, **options) as running,
            Wire(running.address) as one,
            Wire(running.address) as other,
        ):
            await meet(running, meddler, (one, GET), (other, GET))
            assert meddler.cancelled == 1
            found = [answers(await wire.rest()) for wire in (one, other)]
            assert sorted(each.status for (each,) in found) == [200, 500]
            await until(lambda: nothing_runs(running))
            assert sorted(running.counts.statuses) == [200, 500]

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_whoever_is_cancelled_and_leaves_is_not_counted_for_ever(loop: str) -> None:
    async def main() -> None:
        meddler = Meddler()
        options: dict[str, Any] = {"lifespan": "off", "timeout_write": 1.0}
        async with serving(meddler, **options) as running:
            async with Wire(running.address) as one, Wire(running.address) as other:
                await meet(running, meddler, (one, GET), (other, GET))
                assert meddler.cancelled == 1
            async with Wire(running.address) as third:  # so that somebody is looked at
                await until(lambda: running.counts.lost == 2)
                await until(lambda: nothing_runs(running))
                third.finish()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_websocket_that_is_cancelled_before_it_begins_is_answered(loop: str) -> None:
    asks = (
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    async def main() -> None:
        meddler = Meddler()
        options: dict[str, Any] = {"lifespan": "off", "timeout_write": 1.0}
        async with (
            serving(meddler, **options) as running,
            Wire(running.address) as one,
            Wire(running.address) as other,
        ):
            # Neither accepts: one because it ends, the other because it never began.
            await meet(running, meddler, (one, asks), (other, asks))
            assert meddler.cancelled == 1
            for wire in (one, other):
                (got,) = answers(await wire.rest())
                assert got.status == 500

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())
