"""A client in the loop of its server: what it sends in pieces arrives in pieces."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from tests.http.harness import LIMIT

_TURNS = 3
"""Turns of the loop after a piece: one for the poll, one for the protocol, one for uvloop."""

_LONG = 30
"""Turns in which an application that waits for nothing else has answered all it can."""


class Reset(Exception):
    """A connection ended with a reset, and what was on its way may be lost."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"a reset after {received[-300:]!r}")
        self.received = received


class Wire:
    """One connection. Nothing but the loop runs between two pieces, so the cuts are exact."""

    def __init__(self, address: Any) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._address = address
        self.sock = socket.socket(family)
        self.sock.setblocking(False)

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Send each piece and let the server read it. Ends early once nobody listens."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                if left := piece[self._now(piece) :]:
                    await asyncio.wait_for(loop.sock_sendall(self.sock, left), LIMIT)
                await self.turns()

    def _now(self, piece: bytes) -> int:
        """How much of a piece the kernel takes at once: nearly always all."""
        try:
            return self.sock.send(piece)
        except BlockingIOError:
            return 0

    async def turns(self, count: int = _TURNS) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def rest(self) -> bytes:
        """All that comes until the end of the connection. Raises `Reset`."""
        received = bytearray()
        try:
            async with asyncio.timeout(LIMIT):
                while chunk := await self.receive():
                    received += chunk
        except ConnectionResetError as error:
            raise Reset(bytes(received)) from error
        return bytes(received)

    async def receive(self) -> bytes:
        """The next bytes; none at the end."""
        return await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20)

    def finish(self) -> None:
        """Nothing more is sent."""
        with contextlib.suppress(OSError):  # the other side has reset the connection
            self.sock.shutdown(socket.SHUT_WR)

    async def __aenter__(self) -> Self:
        try:
            await asyncio.get_running_loop().sock_connect(self.sock, self._address)
            if self.sock.family == socket.AF_INET:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.sock.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self.sock.close()


async def exchange(address: Any, pieces: Iterable[bytes], *, finish: bool = False) -> bytes:
    """Send all pieces on a connection of their own; what came back until its end.

    With ``finish`` the client ends its side once all that can be answered has been.
    """
    async with Wire(address) as wire:
        reading = asyncio.ensure_future(wire.rest())
        try:
            await wire.send(pieces)
            if finish:
                await wire.turns(_LONG)
                wire.finish()
            return await reading
        finally:
            reading.cancel()
