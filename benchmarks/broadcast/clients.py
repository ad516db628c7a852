"""200 clients in one process. Each message has the same length, so that counting bytes is enough.

A message is its number, and when it was sent; the clock is that of this process alone.
"""

import asyncio
import os
import time
from array import array
from typing import Final

LENGTH: Final = 100
FRAME: Final = LENGTH + 2  # of a server, which masks nothing

_UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Client(asyncio.Protocol):
    """Counts what comes, and with ``waits`` how long it took."""

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd = crowd
        self.bytes = 0
        self.is_open = asyncio.get_running_loop().create_future()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        if not self.is_open.done():
            self._rest += data
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._rest, data = b"", rest
            self.is_open.set_result(None)
        self.bytes += len(data)
        if self.crowd.waits is not None:
            self._look(data)
        self.crowd.told(self)

    def _look(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        data = self._rest + data
        whole = len(data) // FRAME * FRAME
        for at in range(0, whole, FRAME):
            sent = int(data[at + 2 + 20 : at + 2 + 40])
            self.crowd.waits.append(now - sent)  # type: ignore[union-attr]
        self._rest = data[whole:]

    def say(self, number: int) -> None:
        text = b"%020d%020d" % (number, time.perf_counter_ns())
        mask = os.urandom(4)
        body = text + b"." * (LENGTH - len(text))
        masked = bytes(byte ^ mask[at & 3] for at, byte in enumerate(body))
        self.transport.write(bytes((0x81, 0x80 | LENGTH)) + mask + masked)

    @property
    def got(self) -> int:
        """Whole messages."""
        return self.bytes // FRAME

    def connection_lost(self, error: Exception | None) -> None:
        if not self.crowd.is_over:
            self.crowd.fail(ConnectionError("a server closed a connection"))


class Crowd:
    """All of them, and how they speak."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.waits: array[int] | None = None
        self.is_over = False
        self.sent = 0
        self._goal = 0
        self._reached: asyncio.Future[None] | None = None

    async def connect(self, port: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", port)
            self.clients.append(client)
            await client.is_open

    def told(self, client: Client) -> None:
        """Somebody got something."""
        if self._reached is None or self._reached.done() or client.got < self._goal:
            return
        if all(each.got >= self._goal for each in self.clients):
            self._reached.set_result(None)

    def fail(self, error: Exception) -> None:
        if self._reached is not None and not self._reached.done():
            self._reached.set_exception(error)

    async def until_all_got(self, number: int, limit: float) -> bool:
        """Whether each has got so many messages, and no more."""
        self._goal = number
        self._reached = asyncio.get_running_loop().create_future()
        for client in self.clients:
            self.told(client)
        try:
            async with asyncio.timeout(limit):
                await self._reached
        except TimeoutError:
            return False
        return all(client.got == number for client in self.clients)

    async def speak_slowly(self, rate: float, seconds: float) -> None:
        """So many messages a second, each by another client."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
            self.clients[number % len(self.clients)].say(self.sent)
            self.sent += 1

    async def speak_fast(self, seconds: float, window: int) -> None:
        """As many as everybody takes: ``window`` messages are under way at any time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        speakers = self.clients[:8]
        while loop.time() < end:
            for number in range(window // 2):
                speakers[number % len(speakers)].say(self.sent)
                self.sent += 1
            # All but the newest half of the window are there.
            if not await self._until_got(self.sent - window // 2, 30):
                return

    async def _until_got(self, number: int, limit: float) -> bool:
        self._goal = number
        self._reached = asyncio.get_running_loop().create_future()
        for client in self.clients:
            self.told(client)
        try:
            async with asyncio.timeout(limit):
                await self._reached
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self.is_over = True
        for client in self.clients:
            client.transport.abort()
