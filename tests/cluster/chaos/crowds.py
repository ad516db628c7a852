"""A thousand hostile clients against one worker: what they cost, and what others notice.

The small tiers of both are among the tests of `tests/http`, with a dozen or two of each kind.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.http.asgi import Message, Receive, Scope, Send
from tests.cluster.chaos.tiers import SLACK, trials
from tests.http.framing import BINARY, CONTINUATION, PING, TEXT, encode
from tests.http.upgraded import request
from tests.worker.rig import ROOT, Rig

T = TypeVar("T")

CLIENTS = 1000
LIMITS: dict[str, Any] = {
    "timeout_head": 5.0,
    "timeout_keep_alive": 5.0,
    "timeout_write": 5.0,
    "limit_body_grace": 5.0,
}
LONGEST = 8.0
"""Seconds after which each of them is over: the wheel of time-outs turns once a second."""

SLOW: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "slow head": (b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ", b"x"),
    "slow body": (b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "reads nothing": (b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", b""),
}
"""What they begin with, and what they add once a second."""

FLOODS: dict[str, Callable[[int], bytes]] = {
    "reads no echo": lambda turn: encode(TEXT, b"x" * 1000) * 64,
    "reads no pong": lambda turn: encode(PING, b"x" * 100) * 640,
    "one message of 16 MiB": lambda turn: (
        encode(BINARY, b"", length=16 << 20) if not turn else bytes(1 << 16)
    ),
    "a message without an end": lambda turn: encode(
        CONTINUATION if turn else TEXT, b"x" * (1 << 16), is_last=False
    ),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """What the worker serves: an echo of WebSockets, a body read, a long stream, a word."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (came := await receive())["type"] == "websocket.receive":
            await send({**came, "type": "websocket.send"})
        return
    assert scope["type"] == "http"
    if scope["path"] == "/body":
        message: Message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
    stream = 1000 if scope["path"] == "/stream" else 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for index in range(stream):
        more = index + 1 < stream
        part: Message = {"type": "http.response.body", "body": bytes(1 << 14), "more_body": more}
        await send(part)


@pytest.mark.chaos("C38")
@pytest.mark.parametrize("kind", SLOW)
def test_a_thousand_slow_clients_are_gone_in_time_and_nobody_notices(kind: str) -> None:
    for _ in trials(f"C38 {kind}", 1, 1, 3):
        with worker() as rig:
            before, _ = polite(rig, "http", asyncio.sleep(3))
            during, gone = polite(rig, "http", crowd(rig, *SLOW[kind]))
            print(f"{kind}: p99 {before:.1f} -> {during:.1f} ms; all gone after {gone:.1f} s")
            assert gone < LONGEST * SLACK
            # They come in one moment and are ended in one: that is what the p99 shows.
            assert during < max(2 * before, 20.0) * SLACK
            rig.count(Field.CONNECTIONS, 0)
            rig.count(Field.IN_FLIGHT, 0)


@pytest.mark.chaos("C39")
def test_a_flood_of_a_thousand_websockets_has_its_bounds() -> None:
    for _ in trials("C39", 1, 1, 5):
        with worker() as rig:
            small = resident(rig)
            before, _ = polite(rig, "websocket", asyncio.sleep(3))
            during, (refused, largest) = polite(rig, "websocket", flood(rig))
            each = (largest - small) / CLIENTS / 1024
            print(
                f"p99 {before:.1f} -> {during:.1f} ms; {refused} of {CLIENTS // 2} refused with "
                f"1009; {largest >> 20} MiB at the most, {each:.0f} KiB a client"
            )
            # They take all of a core, but in turns; that it is shared with them is in the time.
            assert during < 500 * SLACK
            assert refused == CLIENTS // 2
            # An inbox of 256 KiB, a message of 1 MiB, and what the transport holds.
            assert each < 2560
            rig.count(Field.CONNECTIONS, 0)
            rig.count(Field.WEBSOCKETS, 0)


@pytest.mark.chaos("C39")
@pytest.mark.parametrize(("rate", "kind"), [(0, "websocket"), (10, "http")])
def test_a_thousand_that_send_at_a_pace_leave_room_for_others(rate: int, kind: str) -> None:
    """They want to send a hundred thousand a second, which is more than a worker can take."""
    for _ in trials(f"C39 at a pace, {rate}", 1, 1, 5):
        with worker(ws_max_rate=rate) as rig:
            before, _ = polite(rig, kind, asyncio.sleep(3))
            during, came = polite(rig, kind, pace(rig, 10.0))
            paused = rig.row[Field.WS_THROTTLED]
            print(f"p99 {before:.1f} -> {during:.1f} ms; {came} answers, {paused} pauses")
            assert during < max(3 * before, 100.0) * SLACK
            if rate:
                # A second's worth to begin with, and then as many a second.
                assert came <= CLIENTS * rate * (1 + 10 * SLACK)
            assert (paused > 0) == (rate > 0)
            rig.count(Field.CONNECTIONS, 0)


@contextlib.contextmanager
def worker(**more: Any) -> Iterator[Rig]:
    """One worker that serves `app`."""
    quiet = {"log_level": "error", "access_log": False}
    options = {"lifespan": "off", "server": "tercio", **quiet, **LIMITS, **more}
    with Rig(options=options, record={"app": f"{__name__}:app"}) as rig:
        rig.listener.listen(CLIENTS)
        yield rig.serving()


def polite(rig: Rig, kind: str, meanwhile: Coroutine[Any, Any, T]) -> tuple[float, T]:
    """The 99th percentile, in ms, of what a polite client waits for meanwhile; and its result."""
    command = [sys.executable, "-m", "tests.cluster.chaos.polite", str(rig.address[1]), kind]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        rig.count(Field.CONNECTIONS, 1)
        result = asyncio.run(meanwhile)
        said, _ = process.communicate(b"\n")
    assert process.returncode == 0
    rig.count(Field.CONNECTIONS, 0)
    times: list[float] = sorted(json.loads(said))
    return 1000 * times[len(times) * 99 // 100], result


async def crowd(rig: Rig, begin: bytes, more: bytes) -> float:
    """Be a crowd of slow clients; the seconds until the last of them was sent away."""
    began = time.monotonic()

    async def one() -> None:
        async with connected(rig) as sock:
            with contextlib.suppress(ConnectionError):
                await send(sock, begin)
                while rig.row[Field.CONNECTIONS] > 1:
                    await asyncio.sleep(1)  # what makes them slow
                    if more:
                        await send(sock, more)

    await every(one() for _ in range(CLIENTS))
    return time.monotonic() - began


async def flood(rig: Rig) -> tuple[int, int]:
    """Flood in four ways; how many were refused with 1009, and the worker's memory in bytes."""
    refused = 0
    largest = 0
    stalled = asyncio.Event()
    talking = CLIENTS

    async def one(name: str) -> None:
        nonlocal refused, talking
        async with connected(rig) as sock:
            await send(sock, request())
            loop = asyncio.get_running_loop()
            head = b""
            while b"\r\n\r\n" not in head:
                head += await loop.sock_recv(sock, 4096)
            assert b" 101 " in head
            with contextlib.suppress(TimeoutError, ConnectionError):
                for turn in range(400):
                    # Two seconds without a byte taken: whoever is not refused is stopped so.
                    await asyncio.wait_for(send(sock, FLOODS[name](turn)), 2.0)
            talking -= 1
            if not talking:
                stalled.set()
            await stalled.wait()
            if "message" in name:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    # A close frame: its code behind two bytes.
                    answer = await asyncio.wait_for(loop.sock_recv(sock, 4096), 30)
                    refused += answer[2:4] == (1009).to_bytes(2, "big")

    async def watch() -> None:
        nonlocal largest
        while not stalled.is_set():
            largest = max(largest, resident(rig))
            await asyncio.sleep(0.05)

    names = list(FLOODS)
    await every([*(one(names[number % 4]) for number in range(CLIENTS)), watch()])
    return refused, largest


class Pacer(asyncio.Protocol):
    """A client that sends ten messages each tenth of a second, as far as they are taken."""

    def __init__(self) -> None:
        self.is_full = False
        self.came = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(request())

    def data_received(self, data: bytes) -> None:
        self.came += len(data) // 18

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False


async def pace(rig: Rig, seconds: float) -> int:
    """Be a thousand such clients; how many answers they had, about."""
    loop = asyncio.get_running_loop()
    messages = encode(TEXT, b"x" * 16) * 10
    pacers = [(await loop.create_connection(Pacer, *rig.address))[1] for _ in range(CLIENTS)]
    until = loop.time() + seconds
    while (now := loop.time()) < until:
        for pacer in pacers:
            if not pacer.is_full:
                pacer.transport.write(messages)
        await asyncio.sleep(max(0.0, now + 0.1 - loop.time()))
    for pacer in pacers:
        pacer.transport.abort()
    return sum(pacer.came for pacer in pacers)


async def every(coroutines: Any) -> None:
    """Run all of them; the first failure ends the rest."""
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


async def send(sock: socket.socket, data: bytes) -> None:
    """All of it, however long it takes."""
    await asyncio.get_running_loop().sock_sendall(sock, data)


@contextlib.asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[socket.socket]:
    """A connection that takes little before it is read."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, rig.address)
        yield sock


def resident(rig: Rig) -> int:
    """The bytes of memory that the worker has."""
    with open(f"/proc/{rig.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
