"""A worker's messages from and to the program that launched its cluster: control traffic.

Few and small on purpose. They pass the primary, whose work is to watch: what is much, or for other
workers, belongs on the bus.
"""

import asyncio
import base64
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from tercio import codec
from tercio.errors import MessageRefused, NotInCluster

LARGEST: Final = 64 * 1024
"""Bytes of one message as msgpack."""

QUEUED: Final = 256
"""Messages that may wait in a worker; more are refused, and who sent them is told."""

QUEUED_BYTES: Final = 1 << 20

A_SECOND: Final = 100
"""Messages that a worker may send the program in a second."""

BYTES_A_SECOND: Final = 1 << 20

Send = Callable[[Mapping[str, object]], None]


def pack(value: object) -> str:
    """A message as the control protocol carries it. Raises `Unencodable`, `ValueTooLarge`."""
    return base64.b64encode(codec.encode(value, LARGEST)).decode()


def unpack(body: str) -> object:
    """What was packed. Raises `WrongType` for what nobody has packed."""
    return codec.decode(base64.b64decode(body))


class Post:
    """One worker's. ``send`` passes a message on to the primary, or is None where nobody hears."""

    def __init__(self, send: Send | None = None) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._readers: list[Letters] = []
        self._is_closed = False
        self._began = float("-inf")
        self._sent = self._sent_bytes = 0  # within the second
        self.refused: int = 0
        """How many messages were refused because too many waited."""

    def deliver(self, body: str) -> str:
        """Queue a message that came. Returns why not, if so. From any thread."""
        message = base64.b64decode(body)
        with self._lock:
            if self._is_closed:
                return "is leaving"
            full = len(self._waiting) >= QUEUED
            if full or self._waiting_bytes + len(message) > QUEUED_BYTES:
                self.refused += 1
                return f"has {len(self._waiting)} messages that nobody has taken"
            self._waiting.append(message)
            self._waiting_bytes += len(message)
            readers = tuple(self._readers)
        for reader in readers:
            reader.wake()
        return ""

    def take(self) -> bytes | None:
        """The first message that waits."""
        with self._lock:
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            return message

    def read(self) -> "Letters":
        """A reader, in the loop that runs."""
        reader = Letters(self)
        with self._lock:
            self._readers.append(reader)
        return reader

    @property
    def is_closed(self) -> bool:
        """Whether nothing comes any more."""
        return self._is_closed

    def close(self) -> None:
        """This worker is to go: readers end when they have what waits."""
        with self._lock:
            self._is_closed = True
            readers = tuple(self._readers)
        for reader in readers:
            reader.wake()

    def forget(self, reader: "Letters") -> None:
        """Wake it no more."""
        with self._lock, suppress(ValueError):  # twice
            self._readers.remove(reader)

    def send(self, value: object) -> None:
        """Send a message to the program. See `cluster.Worker.send_to_launcher`."""
        if self._send is None:
            raise NotInCluster("no program launched this worker's cluster (see tercio.launch)")
        body = pack(value)
        with self._lock:
            now = time.monotonic()
            if now - self._began >= 1.0:
                self._began, self._sent, self._sent_bytes = now, 0, 0
            if self._sent >= A_SECOND or self._sent_bytes + len(body) > 4 * BYTES_A_SECOND // 3:
                raise MessageRefused(
                    f"a worker may send its launcher {A_SECOND} messages and "
                    f"{BYTES_A_SECOND >> 20} MiB a second: use cluster.bus for more"
                )
            self._sent += 1
            self._sent_bytes += len(body)
        self._send({"type": "letter", "body": body})


class Letters:
    """An asynchronous iterator over what comes; ends when the worker is to go."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()

    def wake(self) -> None:
        """Something has changed. From any thread."""
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)

    def __aiter__(self) -> "Letters":
        return self

    async def __anext__(self) -> object:
        while (message := self._post.take()) is None:
            if self._post.is_closed:
                self._post.forget(self)
                raise StopAsyncIteration
            self._arrived.clear()
            if (message := self._post.take()) is not None:  # it came before we listened
                break
            await self._arrived.wait()
        return codec.decode(message)
