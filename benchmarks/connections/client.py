"""One HTTP/1.1 connection of a client that never tries again, and one request on it at a time.

Every request has a number of its own, and an answer must bring it back: what is lost, doubled or
mixed up with another one shows.
"""

import asyncio
import itertools
import socket
import ssl
from dataclasses import dataclass
from typing import Self, cast

PATIENCE = 15.0  # seconds for a connection, and for an answer
ADDRESSES = 200
"""Clients come from so many addresses of 127.0.1.0/24, for balancing by address."""

_IP_BIND_ADDRESS_NO_PORT = 24
_numbers = itertools.count(1)
_sources = itertools.cycle(f"127.0.1.{number}" for number in range(1, ADDRESSES + 1))


class Dropped(Exception):
    """A request that did not get its answer."""


class Mixed(Exception):
    """An answer to another request, or bytes that nobody asked for."""


@dataclass(frozen=True)
class Target:
    """Where to connect to."""

    port: int
    tls: bool = False


@dataclass(frozen=True)
class Answer:
    """What an answer says of the server."""

    release: str
    pid: int
    closes: bool


class Connection(asyncio.Protocol):
    """Made by `open`. `is_lost` once the other side has ended it."""

    def __init__(self) -> None:
        self.is_lost = False
        self._received = b""
        self._waiter: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._strays = False
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, target: Target) -> Self:
        """Raises `Dropped`."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            sock.bind((next(_sources), 0))
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(sock, ("127.0.0.1", target.port))
                _, connection = await loop.create_connection(
                    cls,
                    sock=sock,
                    ssl=_CONTEXT if target.tls else None,
                    server_hostname="bench" if target.tls else None,
                )
        except (OSError, TimeoutError) as error:
            sock.close()
            raise Dropped(f"connect: {_reason(error)}") from error
        return connection

    async def get(self, path: str = "/", *, close: bool = False, more: str = "") -> Answer:
        """Ask once. Raises `Dropped` and `Mixed`."""
        number = next(_numbers)
        end = "Connection: close\r\n\r\n" if close else "\r\n"
        line = f"GET {path}?id={number}{more} HTTP/1.1\r\nHost: bench\r\n{end}"
        return await self._ask(number, line.encode())

    async def post(self) -> Answer:
        """Send a body in two writes, 20 ms apart. Raises `Dropped` and `Mixed`."""
        number = next(_numbers)
        body = str(number).encode().rjust(20, b"0")
        head = f"POST /echo HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self._ask(number, head.encode() + body[:8], body[8:])

    @classmethod
    async def open_all(cls, target: Target, count: int) -> list[tuple[Self, int]]:
        """Open so many, each with the process that answers it. Raises `Dropped` and `Mixed`.

        All ask at once and wait for a moment, so that a proxy opens as many to the server.
        """
        connections = [await cls.open(target) for _ in range(count)]
        answers = await asyncio.gather(*(each.get("/wait") for each in connections))
        return [(each, answer.pid) for each, answer in zip(connections, answers, strict=True)]

    def close(self) -> None:
        self.is_lost = True
        self._transport.abort()

    async def _ask(self, number: int, first: bytes, second: bytes = b"") -> Answer:
        if self._strays:
            raise Mixed("bytes that nobody asked for")
        if self.is_lost:
            raise Dropped("closed between two requests")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(first)
        try:
            async with asyncio.timeout(PATIENCE):
                if second:
                    await asyncio.sleep(0.02)
                    if not self._waiter.done():  # it may be lost already
                        self._transport.write(second)
                head, body = await self._waiter
        except TimeoutError as error:
            raise Dropped("time-out") from error
        finally:
            self._waiter = None
        if head[9:10] != b"2":
            raise Dropped(f"status {head[9:12].decode()}")
        release, pid, echoed = body.decode().split()
        if int(echoed) != number:
            raise Mixed("the answer to another request")
        return Answer(release, int(pid), b"\r\nconnection: close" in head.lower())

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self._strays = True
            return
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        if len(body) >= size:
            self._strays = len(body) > size
            self._received = b""
            self._waiter.set_result((head, body[:size]))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if self._waiter is not None and not self._waiter.done():
            how = _reason(error) if error else "closed"
            when = "in the middle of an answer" if self._received else "before an answer"
            self._waiter.set_exception(Dropped(f"{how} {when}"))


def _reason(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "time-out"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case _:
            return type(error).__name__


_CONTEXT = ssl.create_default_context()
_CONTEXT.check_hostname, _CONTEXT.verify_mode = False, ssl.CERT_NONE
