"""A request's body, as a WSGI application reads it in its thread."""

import asyncio
import io
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from tercio.http.asgi import Message, Scope

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER: Final = 1 << 16
"""Bytes that are read ahead at most, for `readline`."""


class ClientGone(OSError):
    """The client left before its request was read, or its answer complete.

    Raised into the application: half of an upload must not look like all of it.
    """


def has_body(scope: Scope) -> bool:
    """Whether one comes without being asked for: not so if the client waits for a 100."""
    if scope["method"] == "GET":
        return False  # as good as never, and a look at all headers
    fields = dict(scope["headers"])
    length = fields.get(b"content-length", b"0")
    return (length != b"0" or b"transfer-encoding" in fields) and b"expect" not in fields


class RequestBody(io.RawIOBase):
    """What comes from the client; to be read through an `io.BufferedReader`."""

    def __init__(
        self,
        first: Message | None,
        receive: Callable[[], Coroutine[Any, Any, Message]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``first``: what was received already; ``receive`` is called in the loop."""
        super().__init__()
        self._receive = receive
        self._loop = loop
        self._rest = memoryview(b"")
        self._is_over = False
        if first is not None:
            self._rest = memoryview(self._take(first))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Wait for the next bytes. Raises `ClientGone`."""
        while not self._rest and not self._is_over:
            self._rest = memoryview(self._take(self._wait()))
        into = memoryview(buffer)
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _take(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left before its request was read to the end")
        self._is_over = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    def _wait(self) -> Message:
        coroutine = self._receive()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
        except CancelledError as error:
            raise ClientGone("the worker is ending") from error
        except RuntimeError as error:
            if not self._loop.is_closed():
                raise
            coroutine.close()
            raise ClientGone("the worker is ending") from error
