"""The load client for what wrk cannot do: uploads in pieces, WebSockets, a fixed rate.

A process of its own, on uvloop: a pickled `Work` comes in, a pickled `Outcome` goes out. It never
tries again, and compares every answer to its last byte.
"""

import asyncio
import os
import pickle
import ssl
import subprocess
import sys
import time
from collections import deque
from typing import Final, cast

import uvloop
from benchmarks.http.servers import ROOT, pin
from benchmarks.http.work import Outcome, Work

PATIENCE: Final = 10.0  # seconds for connections to open, and for the last answers
_PAUSE: Final = 0.001
"""Seconds between the pieces of an upload. Without, a slow server would find several of them at
once, and read less often than a fast one."""
_KEY: Final = b"bnch"


def run(work: Work, port: int, seconds: float, *, cpu: int | None, tls: bool) -> Outcome:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.http.load"],
        cwd=ROOT,
        input=pickle.dumps((work, port, seconds, tls)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 3 * PATIENCE,
        preexec_fn=pin(cpu),
    )
    outcome = pickle.loads(process.stdout)
    assert isinstance(outcome, Outcome)
    return outcome


class Client:
    """All connections of one run, and what they saw."""

    def __init__(self, work: Work, port: int, tls: bool) -> None:
        self.work = work
        self._port = port
        self._tls = _context() if tls else None
        self._loop = asyncio.get_running_loop()
        self._times: list[float] = []
        self._errors: list[str] = []
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()  # asked for, and no connection was free
        self._busy = 0
        self._running = True
        self._settled = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> Outcome:
        connections = [Connection(self, number + 1) for number in range(self.work.connections)]
        if not self.work.close:
            opened = asyncio.gather(*(self._open(connection) for connection in connections))
            await asyncio.wait_for(opened, PATIENCE)
        began = time.perf_counter()
        if self.work.rate is None:
            for connection in connections:
                self._begin(connection, began)
        else:
            self._free.extend(connections)
            self._tick(began, 0)
        await asyncio.sleep(seconds)
        self._running = False
        self._settle()
        try:
            await asyncio.wait_for(self._settled.wait(), PATIENCE)
        except TimeoutError:
            self._errors.append(f"{self._busy} requests got no answer")
        took = time.perf_counter() - began
        self._times.sort()
        count = len(self._times) or 1
        at = [1e3 * self._times[int(count * q)] for q in (0.5, 0.99)] if self._times else [0, 0]
        first = self._errors[0] if self._errors else ""
        return Outcome(len(self._times), took, *at, len(self._errors), first)

    def answered(self, connection: "Connection", asked: float) -> None:
        now = time.perf_counter()
        self._times.append(now - asked)
        self._busy -= 1
        if self.work.rate is not None:
            if self._due:
                self._begin(connection, self._due.popleft())
            else:
                self._free.append(connection)
        elif self._running:
            self._begin(connection, now)
        self._settle()

    def failed(self, reason: str) -> None:
        """The connection of it makes no more requests."""
        self._errors.append(reason)
        self._busy -= 1
        self._settle()

    def _begin(self, connection: "Connection", now: float) -> None:
        self._busy += 1
        if self.work.close:
            task = self._loop.create_task(self._open_and_ask(connection, now))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            connection.ask(now)

    async def _open(self, connection: "Connection") -> None:
        await self._loop.create_connection(
            lambda: connection, "127.0.0.1", self._port, ssl=self._tls
        )
        await connection.ready.wait()

    async def _open_and_ask(self, connection: "Connection", now: float) -> None:
        try:
            await self._open(connection)
        except OSError as error:
            self.failed(f"no connection: {error}")
        else:
            connection.ask(now)

    def _tick(self, began: float, count: int) -> None:
        """Begin what is due: latency counts from the due time, not from when it could begin."""
        if not self._running:
            return
        assert self.work.rate is not None
        now = time.perf_counter()
        while (due := began + count / self.work.rate) <= now:
            count += 1
            if self._free:
                self._begin(self._free.popleft(), due)
            else:
                self._due.append(due)
        self._loop.call_later(due - now, self._tick, began, count)

    def _settle(self) -> None:
        if not (self._running or self._busy or self._due):
            self._settled.set()


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        work = client.work
        self._is_websocket = work.kind == "websocket"
        self._close = work.close
        self._pieces = [piece.replace(b"NUMBER", b"%d" % number) for piece in pieces(work)]
        self._answer = work.answer.replace(b"NUMBER", b"%d" % number)
        if self._is_websocket:
            self._answer = frame(self._answer)
        self._asked: float | None = None
        self._received = b""
        self.ready = asyncio.Event()

    def ask(self, now: float) -> None:
        self._asked = now
        self._received = b""
        self._write(0)

    def _write(self, index: int) -> None:
        self._transport.write(self._pieces[index])
        if index + 1 < len(self._pieces):
            asyncio.get_running_loop().call_later(_PAUSE, self._write, index + 1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: uvloop's are no asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        if self._is_websocket:
            self._transport.write(handshake(self._client.work.path))
        else:
            self.ready.set()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self.ready.is_set():
            if self._received.endswith(b"\r\n\r\n"):
                assert self._received.startswith(b"HTTP/1.1 101"), self._received
                self._received = b""
                self.ready.set()
        elif self._is_websocket:
            if len(self._received) >= len(self._answer):
                self._finish(self._received == self._answer)
        else:
            head, end, body = self._received.partition(b"\r\n\r\n")
            if end and len(body) >= len(self._answer):
                self._finish(head.startswith(b"HTTP/1.1 200 ") and body == self._answer)

    def _finish(self, right: bool) -> None:
        asked, self._asked = self._asked, None
        if asked is None or not right:
            self._transport.abort()
            self._client.failed(f"a wrong answer: {self._received[:200]!r}")
        elif self._close:
            self._transport.close()
            self._client.answered(self, asked)
        else:
            self._client.answered(self, asked)

    def connection_lost(self, error: Exception | None) -> None:
        if self._asked is not None:
            self._asked = None
            self._client.failed(f"closed before the answer: {error}")


def pieces(work: Work) -> list[bytes]:
    """The bytes of one request, as they are written."""
    if work.kind == "websocket":
        return [frame(work.body, masked=True)]
    method = "GET" if work.kind == "get" else "POST"
    head = f"{method} {work.path} HTTP/1.1\r\nHost: bench\r\n"
    head += "Connection: close\r\n" if work.close else ""
    if work.kind == "chunked":
        step = len(work.body) // work.pieces
        parts = [work.body[at : at + step] for at in range(0, len(work.body), step)]
        chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        return [f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), *chunks, b"0\r\n\r\n"]
    head += f"Content-Length: {len(work.body)}\r\n" if work.body else ""
    return [f"{head}\r\n".encode() + work.body]


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, *, masked: bool = False) -> bytes:
    """A binary message in one frame."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, bit | size])
    else:
        head = bytes([0x82, bit | 126]) + size.to_bytes(2, "big")
    if not masked:
        return head + payload
    keys = (_KEY * (size // 4 + 1))[:size]
    return head + _KEY + bytes(a ^ b for a, b in zip(payload, keys, strict=True))


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _main() -> None:
    work, port, seconds, tls = pickle.loads(sys.stdin.buffer.read())
    outcome = await Client(work, port, tls).run(seconds)
    sys.stdout.buffer.write(pickle.dumps(outcome))
    sys.stdout.flush()
    os._exit(0)  # open connections end with the process, not with a warning each


if __name__ == "__main__":
    uvloop.run(_main())
