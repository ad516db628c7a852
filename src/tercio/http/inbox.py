"""Messages of one WebSocket that wait for its application, and an application that waits for them.

    empty <--put, get--> some wait --too many or too much--> full --empty again--> empty

The last one of all is the disconnect, which is there for ever.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tercio.http.asgi import Message

_SIZE: Final = 256 * 1024
"""Bytes that may wait."""


class Inbox:
    """Not a queue of asyncio: that has two more of them and an event, for many times the work."""

    __slots__ = ("_arrival", "_end", "_length", "_loop", "_messages", "_size", "is_full", "room")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, length: int, room: Callable[[], None]
    ) -> None:
        self.is_full = False
        self.room = room
        """Called when it was full and isn't any more."""
        self._loop = loop
        self._length = length
        self._messages: deque[Message] = deque()
        self._size = 0  # bytes since it was empty: more than wait, never less, and cheap to know
        self._arrival: asyncio.Future[None] | None = None  # of who waits
        self._end: dict[str, object] | None = None

    def put(self, message: Message, size: int) -> bool:
        """Add a message; whether it may be the last for now. It is taken in any case."""
        self._messages.append(message)
        if (arrival := self._arrival) is not None and not arrival.done():
            arrival.set_result(None)
        self._size += size
        self.is_full = self._size >= _SIZE or len(self._messages) >= self._length
        return self.is_full

    def end(self, code: int, reason: str) -> None:
        """There will be nothing more. The first end counts."""
        if self._end is None:
            self._end = {"type": "websocket.disconnect", "code": code, "reason": reason}
            if self._arrival is not None and not self._arrival.done():
                self._arrival.set_result(None)

    async def get(self) -> Message:
        """ASGI's ``receive``."""
        messages = self._messages
        while not messages:
            if self._end is not None:
                return self._end.copy()
            if self._arrival is None:
                self._arrival = self._loop.create_future()
                try:
                    await self._arrival
                finally:
                    self._arrival = None
            else:
                # Another task of the application waits, too: neither may cancel the other's.
                await asyncio.wait([self._arrival])
        message = messages.popleft()
        if not messages:
            self._size = 0
            if self.is_full:
                self.is_full = False
                self.room()
        return message
