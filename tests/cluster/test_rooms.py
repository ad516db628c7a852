"""Q28: what is sent to a room comes to every client, at whichever worker, once."""

import asyncio
import json
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.engines.redis.valkey import Valkey

DRAIN = ("--drain-timeout", "1")  # WebSockets are closed at its end
APP = """
import json, os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from tercio import cluster

rooms = cluster.rooms
rooms.keep("kept", last=10000)

async def listen(websocket):
    await websocket.accept()
    query = websocket.query_params
    backlog = int(query.get("backlog", 1 << 20))
    async with rooms.connect(websocket, backlog=backlog) as client:
        after = int(query["after"]) if "after" in query else None
        joined = await client.join(query["room"], after=after)
        client.send(json.dumps({"pid": os.getpid(), "seq": joined.position}))
        async for text in websocket.iter_text():
            await rooms.send(query["room"], text)

async def say(request):
    query = request.query_params
    for number in range(int(query["first"]), int(query["last"])):
        text = str(number) + "." * int(query.get("size", 0))
        await rooms.send(query["room"], text)
    return JSONResponse(os.getpid())

async def count(request):
    return JSONResponse(await rooms.count(request.query_params["room"]))

app = Starlette(routes=[
    WebSocketRoute("/listen", listen), Route("/say", say), Route("/count", count)
])
"""


@pytest.fixture(params=["embedded", "redis", "uvicorn"])
def two(
    request: pytest.FixtureRequest, new_cluster: Callable[[], Cluster]
) -> Iterator[list[Cluster]]:
    """Where is spoken and where is listened: one cluster, or two over one server."""
    if request.param != "redis":
        one = new_cluster()
        one.write_app(APP)
        server = ("--server", "uvicorn") if request.param == "uvicorn" else ()
        one.start(*QUICK, *DRAIN, "-w", "4", "--no-access-log", *server)
        yield [one, one]
        return
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        server_ = Valkey(Path(directory))
        try:
            clusters = [new_cluster(), new_cluster()]
            for one in clusters:
                one.write_app(APP)
                one.start(*QUICK, *DRAIN, "-w", "2", "--redis", server_.url, "--redis-required")
            yield clusters
        finally:
            server_.kill()


async def listener(
    stack: AsyncExitStack, cluster: Cluster, query: str
) -> tuple[int, ClientConnection]:
    """A client that has joined: the worker it is at, and its connection."""
    url = f"ws://127.0.0.1:{cluster.port}/listen?{query}"
    client = await stack.enter_async_context(connect(url, compression=None, ping_interval=None))
    async with asyncio.timeout(PATIENCE):
        hello = json.loads(await client.recv())
    return hello["pid"], client


def say(cluster: Cluster, room: str, first: int, last: int, size: int = 0) -> None:
    assert cluster.get(f"/say?room={room}&first={first}&last={last}&size={size}").status == 200


def test_200_clients_over_all_workers_get_each_message_once(two: list[Cluster]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            clients = []
            at: Counter[int] = Counter()
            for number in range(200):
                pid, client = await listener(stack, two[number % 2], "room=lobby")
                at[pid] += 1
                clients.append(client)
            assert len(at) == 4, "one worker had them all: nothing was shared"
            for part in range(5):
                one = two[part % 2]
                await asyncio.to_thread(say, one, "lobby", 20 * part, 20 * part + 20)
            async with asyncio.timeout(PATIENCE * 2):
                for client in clients:
                    got = [int(await client.recv()) for _ in range(100)]
                    assert sorted(got) == list(range(100))
            # Nothing comes twice: the next thing that any of them gets is the end.
            await asyncio.to_thread(say, two[0], "lobby", 1000, 1001)
            async with asyncio.timeout(PATIENCE):
                assert {await client.recv() for client in clients} == {"1000"}

    asyncio.run(main())


def test_a_stalled_client_costs_only_itself(two: list[Cluster]) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            _, good = await listener(stack, two[1], "room=loud")
            with socket.create_connection(("127.0.0.1", two[1].port)) as stalled:
                stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stalled.sendall(
                    b"GET /listen?room=loud&backlog=100000 HTTP/1.1\r\nHost: a\r\n"
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                sent = 0
                async with asyncio.timeout(PATIENCE * 2):
                    while not await _slow_clients(two[1]):
                        await asyncio.to_thread(say, two[0], "loud", sent, sent + 5, 100_000)
                        for number in range(sent, sent + 5):
                            got = await good.recv()
                            assert int(str(got).rstrip(".")) == number
                        sent += 5
            assert await _slow_clients(two[1]) == ["tercio_room_slow_clients_total 1.0"]
            await _until_count(two[0], "loud", 1)

    asyncio.run(main())


async def _slow_clients(cluster: Cluster) -> list[str]:
    metrics = await asyncio.to_thread(cluster.tercio, "metrics")
    return [line for line in metrics.stdout.splitlines() if line.startswith("tercio_room_slow")]


async def _count(cluster: Cluster, room: str) -> int:
    answer = await asyncio.to_thread(cluster.get, f"/count?room={room}")
    return int(answer.text)


async def _until_count(cluster: Cluster, room: str, expected: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await _count(cluster, room) != expected:
            pass


def test_a_reload_closes_with_1012_and_who_resumes_loses_nothing(two: list[Cluster]) -> None:
    """20 clients count on while every worker is replaced, and messages are sent all the time."""
    total = 2000
    codes: Counter[int | None] = Counter()
    ready = asyncio.Semaphore(0)

    async def listen(cluster: Cluster) -> list[int]:
        """The numbers it got, over as many connections as it took."""
        got: list[int] = []
        query, last = "room=kept", None
        while len(got) < total:
            try:
                async with connect(f"ws://127.0.0.1:{cluster.port}/listen?{query}") as client:
                    while len(got) < total:
                        said = json.loads(await client.recv())
                        if "pid" not in said:
                            got.append(int(said["data"]))
                            last = said["seq"]
                        elif last is None:
                            last = said["seq"]
                            ready.release()
            except ConnectionClosed as error:
                codes[None if error.rcvd is None else error.rcvd.code] += 1
            query = f"room=kept&after={last}"
        return got

    async def main() -> None:
        async with asyncio.timeout(PATIENCE * 3), asyncio.TaskGroup() as group:
            listening = [group.create_task(listen(two[number % 2])) for number in range(20)]
            for _ in listening:
                await ready.acquire()
            reloading = group.create_task(asyncio.to_thread(two[1].tercio, "reload"))
            number = 0
            closed = sum(two[number % 2] is two[1] for number in range(20))
            while number < total:
                is_over = reloading.done() and codes.total() >= closed
                until = total if is_over else min(number + 5, total - 20)
                await asyncio.to_thread(say, two[0], "kept", number, until)
                number = until
        done = reloading.result()
        assert done.returncode == 0, done.stderr
        for task in listening:
            assert task.result() == list(range(total))
        assert set(codes) == {1012}, codes

    asyncio.run(main())
