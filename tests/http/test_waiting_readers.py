"""Applications that wait for what comes, and stop waiting: nothing of that stays behind."""

import asyncio
import gc

import pytest
from starlette.requests import Request

from tercio.http.asgi import Message, Receive, Scope, Send
from tests.http.harness import LIMIT, Served
from tests.worker.rig import Client, until

pytestmark = pytest.mark.timeout(120)

POLLS = 2000


def futures() -> int:
    """How many there are."""
    gc.collect()
    return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())


def test_asking_whether_the_client_is_there_leaves_nothing_behind(loop: str) -> None:
    grown = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        assert await request.body() == b""
        before = futures()
        for _ in range(POLLS):
            assert not await request.is_disconnected()
        grown.append(futures() - before)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with Served(app, loop=loop, lifespan="off") as served, Client(served.address) as client:
        client.ask("/")
        assert client.head() == 204
        assert grown[0] < POLLS / 10


def test_who_asks_sees_that_the_client_has_left(loop: str) -> None:
    asked = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        while not await request.is_disconnected():
            asked.append(1)
            await asyncio.sleep(0)

    with Served(app, loop=loop, lifespan="off") as served:
        with Client(served.address) as client:
            client.ask("/")
            until(lambda: len(asked) > 10)
        until(lambda: served.counts.in_flight == 0)


def test_who_stops_waiting_takes_nothing_from_the_others(loop: str) -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def read() -> None:
            got.append(await receive())

        waiting = [asyncio.ensure_future(read()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"now", "more_body": True})
        await asyncio.wait(waiting, timeout=LIMIT)
        await send({"type": "http.response.body", "body": b"then"})

    with Served(app, loop=loop, lifespan="off") as served, Client(served.address) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        assert client.head() == 200
        assert client.chunk() == b"now"
        # In two parts, one for each: the second would be lost with whoever waits no more.
        client.send(b"ab")
        until(lambda: len(got) == 1)
        client.send(b"cd")
        assert client.chunk() == b"then"
        assert [each["body"] for each in got] == [b"ab", b"cd"]
