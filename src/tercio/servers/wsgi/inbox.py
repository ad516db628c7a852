"""A request's messages: for the application that reads them, and to learn that its client left.

Servers of our own say whether the client is there. Of another one only `receive` does, behind all
that the client sent: so that is taken one message ahead, and kept for who reads.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from tercio.http.asgi import Message, Receive


class Inbox:
    """Of one request. Everything runs in the loop."""

    def __init__(self, receive: Receive, on_disconnect: Callable[[], None]) -> None:
        """``on_disconnect`` is called when `watch` finds that the client is gone."""
        self.is_read = False
        """Whether the application waits for a message."""
        self._receive = receive
        self._on_disconnect = on_disconnect
        self._ahead: deque[Message] = deque()  # the end of the body, and what follows it, at most
        self._task: asyncio.Future[Message] | None = None

    async def take(self) -> Message:
        """The next message."""
        self.is_read = True
        try:
            if not self._ahead and self._task is not None:
                await asyncio.wait({self._task})
            if not self._ahead:
                return await self._receive()
            message = self._ahead[0]
            if message["type"] != "http.disconnect":  # that one is the answer for ever
                self._ahead.popleft()
            return message
        finally:
            self.is_read = False

    def watch(self) -> None:
        """Look for the disconnect from now on; call it again now and then.

        It sees as far as the client's next bytes. If those are part of a body that the application
        has not read, it goes on only when they were taken.
        """
        if self._task is None and not self.is_read and not (self._ahead and self._is_open):
            self._task = asyncio.ensure_future(_message(self._receive))
            self._task.add_done_callback(self._came)

    def close(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()

    @property
    def _is_open(self) -> bool:
        """Whether the last message that is here is not the end of the body."""
        return bool(self._ahead[-1].get("more_body")) or self._ahead[-1]["type"] != "http.request"

    def _came(self, task: "asyncio.Future[Message]") -> None:
        self._task = None
        if task.cancelled() or task.exception() is not None:
            return  # who reads will see what the server raises
        message = task.result()
        self._ahead.append(message)
        if message["type"] == "http.disconnect":
            self._on_disconnect()
        else:
            self.watch()


async def _message(receive: Receive) -> Message:
    return await receive()
