"""Clients that never try again: what a server drops under them, they count.

A server that announced ``Connection: close`` is followed by a new connection, and a WebSocket
closed with 1012 is opened again: neither is a failure. An end without notice, a reset, a time-out,
a 5xx and a wrong body are.
"""

import asyncio
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PATIENCE: Final = float(os.environ.get("TERCIO_TEST_PATIENCE", "30"))

_DOWNLOAD: Final = b"".join(bytes([number]) * 1024 for number in range(40))
_PAUSE: Final = 0.01  # after a failure: a server that is gone must not be asked in a busy loop
_SERVICE_RESTART: Final = 1012


class _Dropped(Exception):
    """A request that did not get its answer."""


@dataclass
class Tally:
    """What the clients saw."""

    answers: Counter[str] = field(default_factory=Counter)  # by kind of client
    failures: list[str] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)
    pids: set[int] = field(default_factory=set)
    followed: int = 0  # announced closes
    worst: dict[str, float] = field(default_factory=dict)  # seconds, by kind of client

    def __str__(self) -> str:
        worst = ", ".join(f"{kind} {1000 * value:.0f} ms" for kind, value in self.worst.items())
        reasons = Counter(self.failures)
        return (
            f"{self.answers.total()} answers {dict(self.answers)}, {len(self.failures)} failures "
            f"{dict(reasons)}, releases {dict(self.releases)}, {len(self.pids)} pids, "
            f"{self.followed} announced closes, worst {worst}"
        )


class Load:
    """Clients of several kinds in a thread, from ``with`` to its end.

    ``fresh`` open a connection a request (K1), ``kept`` keep theirs and think up to ``think``
    seconds (K2), ``posts`` send a body in two writes 20 ms apart (K3), ``downloads`` read for
    ``download`` seconds and check what they got (K4), ``websockets`` echo numbers (K5).
    """

    def __init__(
        self,
        port: int,
        *,
        fresh: int = 0,
        kept: int = 0,
        posts: int = 0,
        downloads: int = 0,
        websockets: int = 0,
        think: float = 0.05,
        download: float = 2.0,
        patience: float = PATIENCE,
    ) -> None:
        self.tally = Tally()
        self._port = port
        self._think = think
        self._download = download
        self._patience = patience
        self._clients: list[Callable[[], Awaitable[None]]] = [
            *[self._fresh] * fresh,
            *[self._kept] * kept,
            *[self._posts] * posts,
            *[self._downloads] * downloads,
            *[self._websockets] * websockets,
        ]
        self._ends = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        # Answers to requests that began since the last `wait_for`, and how many it waits for.
        self._epoch = 0
        self._recent: Counter[str] = Counter()
        self._enough: int | None = None
        self._reached = threading.Event()
        self._failed = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends = True
        self._thread.join(self._patience + 5)
        assert not self._thread.is_alive(), f"clients hang: {self.tally}"
        if self._error is not None and error is None:
            raise self._error

    @property
    def failures(self) -> list[str]:
        """Why each failed request failed."""
        return self.tally.failures

    def wait_for(self, count: int) -> Counter[str]:
        """Wait for ``count`` answers to requests that begin from now on; return their releases."""
        self._reached.clear()
        self._epoch += 1
        self._recent = Counter()
        self._enough = count
        self._reached.wait(self._patience)
        recent = self._recent.copy()
        assert recent.total() >= count, f"{recent} in {self._patience:g} s, {count} were wanted"
        return recent

    def wait_for_a_failure(self) -> str:
        """Wait until a request has failed; return why the first one did."""
        assert self._failed.wait(self._patience + 5), f"none failed: {self.tally}"
        return self.failures[0]

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._run_all())
        except BaseException as error:
            self._error = error
        finally:
            self._reached.set()  # nobody answers any more

    async def _run_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(self._repeat(client))

    async def _repeat(self, client: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(random.uniform(0, self._think))  # not all at once
        while not self._ends:
            try:
                await client()
            except (_Dropped, OSError, EOFError, ConnectionClosed, InvalidHandshake) as error:
                kind = client.__name__.removeprefix("_")
                self.tally.failures.append(f"{kind}: {_reason(error)}")
                self._failed.set()
                await asyncio.sleep(_PAUSE)

    def _count(self, kind: str, signature: bytes, request: "_Request") -> None:
        release, pid, *_ = signature.split()
        name = release.decode()
        tally = self.tally
        tally.answers[kind] += 1
        tally.releases[name] += 1
        tally.pids.add(int(pid))
        tally.worst[kind] = max(tally.worst.get(kind, 0.0), time.monotonic() - request.began)
        if request.epoch == self._epoch and self._enough is not None:
            self._recent[name] += 1
            if self._recent.total() >= self._enough:
                self._enough = None
                self._reached.set()

    # The kinds. Each method is one connection; its end without notice is an exception.

    async def _fresh(self) -> None:
        request = _Request(self._epoch)
        async with asyncio.timeout(self._patience), _Connection(self._port) as connection:
            connection.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            answer = await connection.answer()
            if await connection.reader.read(1):
                raise _Dropped("more bytes than announced")
        self._count("fresh", answer.body, request)
        await asyncio.sleep(random.uniform(0, self._think))

    async def _kept(self) -> None:
        async with _Connection(self._port) as connection:
            while not self._ends:
                request = _Request(self._epoch)
                async with asyncio.timeout(self._patience):
                    connection.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                    answer = await connection.answer()
                self._count("kept", answer.body, request)
                if answer.closes:
                    self.tally.followed += 1
                    return
                await asyncio.sleep(random.uniform(0, self._think))

    async def _posts(self) -> None:
        number = 0
        async with _Connection(self._port) as connection:
            while not self._ends:
                number += 1
                body = f"post number {number} of {id(connection)}".encode()
                request = _Request(self._epoch)
                head = f"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
                async with asyncio.timeout(self._patience):
                    connection.write(head.encode() + body[:5])
                    await asyncio.sleep(0.02)
                    connection.write(body[5:])
                    answer = await connection.answer()
                if not answer.body.endswith(body):
                    raise _Dropped("another body than was sent")
                self._count("posts", answer.body, request)
                if answer.closes:
                    self.tally.followed += 1
                    return
                await asyncio.sleep(random.uniform(0, self._think))

    async def _downloads(self) -> None:
        request = _Request(self._epoch)
        async with (
            asyncio.timeout(self._patience + self._download),
            _Connection(self._port) as connection,
        ):
            path = f"/download?{1000 * self._download:.0f}"
            connection.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            answer = await connection.answer()
        if answer.body != _DOWNLOAD:
            raise _Dropped("other bytes than expected")
        self._count("downloads", answer.release, request)

    async def _websockets(self) -> None:
        number = 0
        async with connect(
            f"ws://127.0.0.1:{self._port}/", proxy=None, open_timeout=self._patience
        ) as websocket:
            while not self._ends:
                number += 1
                request = _Request(self._epoch)
                try:
                    async with asyncio.timeout(self._patience):
                        signature = await _echo(websocket, number)
                except ConnectionClosed as error:
                    if error.rcvd is not None and error.rcvd.code == _SERVICE_RESTART:
                        self.tally.followed += 1
                        return
                    raise
                self._count("websockets", signature, request)
                await asyncio.sleep(random.uniform(0, self._think))


class _Request:
    """When a request began, in seconds and in the order of `wait_for` calls."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.began = time.monotonic()


@dataclass(frozen=True)
class _Answer:
    body: bytes
    closes: bool
    release: bytes


class _Connection:
    """A connection that is closed with its block, or reset when the block fails."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():  # uvloop raises RuntimeError then
            raise _Dropped("closed while the request was being sent")
        self._writer.write(data)

    async def answer(self) -> _Answer:
        """Read one answer. Raises `_Dropped` for a status that is no success."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            what = "in the middle of a head" if error.partial else "before any byte of an answer"
            raise _Dropped(f"closed {what}") from error
        status, *lines = head[:-4].split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers[b"content-length"])
        try:
            body = await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise _Dropped("closed in the middle of a body") from error
        if not status.split()[1].startswith(b"2"):
            raise _Dropped(f"status {status.split()[1].decode()}")
        closes = headers.get(b"connection", b"").lower() == b"close"
        return _Answer(body, closes, headers.get(b"x-release", b""))


async def _echo(websocket: ClientConnection, number: int) -> bytes:
    await websocket.send(str(number))
    text = await websocket.recv(decode=False)
    assert isinstance(text, bytes)
    if text.split()[-1] != str(number).encode():
        raise _Dropped(f"echo {text.split()[-1].decode()} of {number}")
    return text


def _reason(error: BaseException) -> str:
    match error:
        case _Dropped():
            return str(error)
        case TimeoutError():
            return "time-out"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case ConnectionClosed():
            code = error.rcvd.code if error.rcvd is not None else None
            return "closed without a close frame" if code is None else f"closed with {code}"
        case _:
            return f"{type(error).__name__}: {error}"
