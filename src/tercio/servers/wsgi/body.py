"""A request's body, as a WSGI application reads it in its thread."""

import asyncio
import io
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from tercio.http.asgi import Message

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER: Final = 1 << 16
"""Bytes that are read ahead at most, for `readline`."""


class ClientGone(OSError):
    """The client left before its request or its answer was complete.

    Raised into the application: half of an upload must not look like all of it.
    """


class RequestBody(io.RawIOBase):
    """What comes from the client; to be read through an `io.BufferedReader`."""

    def __init__(
        self, receive: Callable[[], Coroutine[Any, Any, Message]], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__()
        self._receive = receive
        self._loop = loop
        self._rest = memoryview(b"")
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Wait for the next bytes. Raises `ClientGone`."""
        while not self._rest and not self._is_over:
            self._rest = memoryview(self._next())
        into = memoryview(buffer)
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        message = asyncio.run_coroutine_threadsafe(self._receive(), self._loop).result()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client is gone, and its request was not complete")
        self._is_over = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body
