"""Clients leave at any moment, in any way, thousands of times, and nothing of them stays."""

import asyncio
import gc
import os
import random
import socket
import struct
import time
from collections import Counter

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.http.asgi import Receive, Scope, Send
from tests.http.harness import LIMIT
from tests.http.place import Place, place
from tests.http.wire import Wire
from tests.worker.rig import Rig, until

pytestmark = pytest.mark.timeout(int(os.environ.get("TERCIO_HTTP_LIMIT", 120)))

ABORTS = int(os.environ.get("TERCIO_HTTP_ABORTS", 5000))
"""`TERCIO_HTTP_ABORTS=100000 TERCIO_HTTP_LIMIT=7200` is what is promised."""

TIME = 20.0 if ABORTS <= 5000 else 7200.0
"""Seconds after which a slow machine has seen enough."""

AT_ONCE = 50
BODY = b"x" * 20_000

REQUESTS = (
    b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"POST /body HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nX: 1\r\n\r\n",
    b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n" * 5,
    b"GET /small HTTP/1.1\r\nHost: h\r\n\r\nGET /waits HTTP/1.1\r\nHost: h\r\n\r\n" * 3,
    b"no request\r\n\r\n",
    b"GET /small HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000,
)


class Waiting:
    """Pages that take long enough for a client to leave."""

    def __init__(self) -> None:
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        self.inside += 1
        try:
            await self._page(scope["path"], receive, send)
        finally:
            self.inside -= 1

    async def _page(self, path: str, receive: Receive, send: Send) -> None:
        match path:
            case "/waits":
                while (await receive())["type"] != "http.disconnect":
                    pass
            case "/body":
                while (message := await receive())["type"] == "http.request":
                    if not message["more_body"]:
                        break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(30 if path == "/large" else 1):
            body = b"x" * (100_000 if path == "/large" else 10)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def come_and_go(address: tuple[str, int], luck: random.Random) -> None:
    """One client: it sends some of a request, reads some of the answer, and leaves."""
    data = luck.choice(REQUESTS)
    async with Wire(address) as wire:
        if luck.random() < 0.1:
            pass  # it leaves without a word
        elif luck.random() < 0.5:
            end = luck.randrange(len(data) + 1)
            await wire.send([data[:end], data[end:]][: luck.choice((1, 2))])
        else:
            await wire.send([data])
        if luck.random() < 0.5:
            await wire.turns(luck.randrange(10))
        waits = b"/waits" in data or not data.endswith((b"\r\n\r\n", b"x"))
        if luck.random() < 0.3 and not waits:
            await read_some(wire)
        match luck.randrange(3):
            case 0:
                linger = struct.pack("ii", 1, 0)
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # a reset
            case 1:
                wire.finish()
                await wire.turns(luck.randrange(5))


async def read_some(wire: Wire) -> None:
    """What is there within a moment; a moment is not much where 50 clients share a loop."""
    try:
        async with asyncio.timeout(0.01):
            await wire.receive()
    except (TimeoutError, ConnectionError):
        pass


async def crowd(server: Place, seed: str, count: int) -> int:
    """So many clients, some at once; how many there were."""
    deadline = time.monotonic() + TIME
    address = server.running.address
    done = 0
    while done < count and time.monotonic() < deadline:
        async with asyncio.TaskGroup() as group:
            for each in range(done, done + AT_ONCE):
                group.create_task(come_and_go(address, random.Random(f"{seed} {each}")))
        done += AT_ONCE
    await server.settle()
    return done


def ours() -> Counter[str]:
    """Living objects of our server's classes."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
        if str(kind.__module__).startswith("tercio.http")
    )


def timers(server: Place) -> int:
    """Timers of asyncio's loop that will still go off; uvloop does not tell."""
    loop = server.run(_loop())
    scheduled = getattr(loop, "_scheduled", [])
    return sum(not handle.cancelled() for handle in scheduled)


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_nothing_is_left_of_clients_that_leave(loop: str) -> None:
    app = Waiting()
    # What waits for a time-out is no leak: those are short, here.
    options = {"linger": 0.2, "timeout_keep_alive": 1.0, "timeout_write": LIMIT}
    with place(loop, app, **options) as server:
        server.run(crowd(server, "before", AT_ONCE))
        before = ours(), descriptors(), timers(server)
        done = server.run(crowd(server, "clients", ABORTS))
        assert app.inside == 0
        after = ours(), descriptors(), timers(server)
        print(f"{done} clients came and went")
        assert after[0] == before[0]
        assert after[1] == before[1]
        assert after[2] <= before[2] + 2  # the sweep and the date come and go
        counts = server.running.counts
        assert (counts.connections, counts.in_flight, counts.failed) == (0, 0, 0)
        assert counts.begun == len(counts.statuses)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_left_in_a_worker_of_clients_that_leave(loop: str) -> None:
    options = {"server": "tercio", "loop": loop, "linger": 0.2, "log_level": "critical"}
    luck = random.Random("worker")
    pages = [b"GET /slow?seconds=0.01 HTTP/1.1", b"GET / HTTP/1.1", b"GET /body HTTP/1.1"]
    with Rig(options=options) as rig:
        rig.serving().get("/who")
        rig.count(Field.CONNECTIONS, 0)
        directory = f"/proc/{rig.process.pid}/fd"
        before = len(os.listdir(directory))
        for _ in range(min(ABORTS, 500)):
            data = luck.choice(pages) + b"\r\nHost: h\r\n\r\n"
            client = rig.connect()
            client.send(data[: luck.randrange(len(data) + 1)])
            if luck.random() < 0.5:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        rig.count(Field.CONNECTIONS, 0)
        rig.count(Field.IN_FLIGHT, 0)
        until(lambda: len(os.listdir(directory)) == before)
        assert rig.get("/who")[0] == 200
        assert rig.row[Field.ERRORS] == 0
