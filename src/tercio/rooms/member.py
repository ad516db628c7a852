"""One WebSocket among the clients of this process, and what waits to be sent to it.

A client that reads too slowly is closed with 1013 (try again later): it costs only itself.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

TRY_LATER: Final = 1013
"""The close code (RFC 6455's registry) for a client that does not keep up."""

EXTENSION: Final = "tercio.frames"
"""Of a WebSocket's scope, where Tercio's own server carries it."""

_GRACE: Final = 1.0  # seconds
_MOST: Final = 4
_GOODBYE: Final = 10.0  # seconds for a close frame to leave

_log = logging.getLogger("tercio.rooms")


class Frames(Protocol):
    """Our server's way past one call for each message: bytes that are frames already."""

    def frame(self, content: str | bytes) -> bytes:
        """A message as it goes over the wire; the same for all clients."""

    def write(self, data: bytes) -> int:
        """Send frames; the answer is how many bytes waited for the client before."""

    def close(self, code: int, reason: str) -> None:
        """End it, also if the client reads nothing."""


Send = Callable[[dict[str, Any]], Awaitable[None]]


class Member:
    """A client. It is too slow when more than ``backlog`` bytes waited for it for a second, or four
    times as many at any moment: a burst is no fault of its.
    """

    def __init__(self, id: str, backlog: int) -> None:
        self.id: str = id
        self.name: str | None = None
        self.rooms: set[str] = set()
        self.is_over = False
        self.was_slow = False
        self._backlog = backlog
        self._behind_since = 0.0

    def deliver(self, content: str | bytes) -> bool:
        """Send one message; False if this client was too slow for it and is closed now."""
        raise NotImplementedError

    def deliver_all(self, contents: list[str | bytes]) -> bool:
        """Send messages together: however many they are, they are one delivery."""
        raise NotImplementedError

    def close(self, code: int, reason: str = "") -> None:
        """End its connection."""
        raise NotImplementedError

    def _is_behind(self, waiting: int) -> bool:
        """Whether it is too slow for one message more. Called when ``backlog`` is exceeded."""
        now = time.monotonic()
        if not self._behind_since:
            self._behind_since = now
        return waiting > _MOST * self._backlog or now - self._behind_since > _GRACE

    def _too_slow(self) -> bool:
        self.was_slow = True
        self.close(TRY_LATER, "too slow")
        return False


class FramedMember(Member):
    """At our own server."""

    def __init__(self, id: str, backlog: int, frames: Frames) -> None:
        super().__init__(id, backlog)
        self.frames = frames

    def deliver(self, content: str | bytes) -> bool:
        if self.is_over:
            return True
        return self.write(self.frames.frame(content))

    def deliver_all(self, contents: list[str | bytes]) -> bool:
        if self.is_over or not contents:
            return True
        return self.write(b"".join(map(self.frames.frame, contents)))

    def write(self, data: bytes) -> bool:
        """Send frames, as `deliver`."""
        waited = self.frames.write(data)
        if waited <= self._backlog:
            self._behind_since = 0.0
        elif self._is_behind(waited):
            return self._too_slow()
        return True

    def close(self, code: int, reason: str = "") -> None:
        if not self.is_over:
            self.is_over = True
            self.frames.close(code, reason)


class AsgiMember(Member):
    """At any other server: a task sends one message after the other."""

    def __init__(self, id: str, backlog: int, send: Send) -> None:
        super().__init__(id, backlog)
        self._send = send
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._code: tuple[int, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_sending = False

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="tercio-room-client")

    async def end(self) -> None:
        """The client's handler is over."""
        self.is_over = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):  # the client has gone: so has it
                await task

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await self._send_on()
        except asyncio.CancelledError:
            if self._code is None or self._task is None:
                raise
            task.uncancel()  # `close` ended what a client did not take
        if self._code is not None:
            await self._say_goodbye(*self._code)

    async def _send_on(self) -> None:
        while self._code is None:
            while self._waiting and self._code is None:
                content = self._waiting.popleft()
                key = "text" if isinstance(content, str) else "bytes"
                self._is_sending = True
                await self._send({"type": "websocket.send", key: content})
                self._is_sending = False
                self._bytes -= len(content)
            if self._code is None:
                self._wake.clear()
                await self._wake.wait()

    def deliver(self, content: str | bytes) -> bool:
        return self.deliver_all([content])

    def deliver_all(self, contents: list[str | bytes]) -> bool:
        if self.is_over:
            return True
        if self._bytes <= self._backlog:
            self._behind_since = 0.0
        elif self._is_behind(self._bytes):
            return self._too_slow()
        self._waiting.extend(contents)
        self._bytes += sum(map(len, contents))
        self._wake.set()
        return True

    def close(self, code: int, reason: str = "") -> None:
        if not self.is_over:
            self.is_over = True
            self._code = code, reason
            if self._is_sending and self._task is not None:
                # What it does not read must not keep us from saying goodbye.
                self._task.cancel()
            self._wake.set()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        message = {"type": "websocket.close", "code": code, "reason": reason}
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._send(message)
        except TimeoutError:
            _log.info("a client did not even take the close frame; its server will notice")
