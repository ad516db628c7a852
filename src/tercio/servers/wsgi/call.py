"""One call of a WSGI application: in a thread, while its messages are sent in the loop.

Either side may be the first to go. Whoever waits for the other is told: the thread by an exception
out of what it does next, the loop by a flag and a wake-up. Python cannot end a thread, so one that
is left by itself keeps its place among the threads until it comes back.
"""

import asyncio
import io
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from types import FrameType, TracebackType
from typing import Final
from urllib.parse import quote

from tercio.http.asgi import Message, Receive, Scope, Send
from tercio.servers.wsgi.body import BUFFER, ClientGone, RequestBody
from tercio.servers.wsgi.environ import environ_of

_log = logging.getLogger("tercio.worker")

_ROOM: Final = 10
"""Messages that wait to be sent; the application waits with the next one."""

WsgiFunction = Callable[..., Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]


class TookTooLong(OSError):
    """The answer comes after its time-out; raised into the application."""


class WsgiCall:
    """Of one request. Made in the loop; `run` it there, once."""

    def __init__(
        self, app: WsgiFunction, scope: Scope, receive: Receive, send: Send, limit: float
    ) -> None:
        """``limit``: seconds without news from the application after which it is overdue; 0: no
        matter how many.
        """
        self.loop = asyncio.get_running_loop()
        self.is_started = False
        """Whether the answer has begun."""
        self.is_complete = False
        """Whether all of it was sent."""
        self.is_over: Callable[[], None] = lambda: None
        """Called in the loop when the thread is free again."""
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        # The method of uvicorn's request cycle, and of our requests; another server's may not tell.
        self._cycle: object = getattr(send, "__self__", None)
        self._news = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        # What the executor keeps until a thread is free, however long that takes.
        self._held: list[WsgiCall] = [self]
        self._context = copy_context()
        self._room = (
            threading.Condition()
        )  # re-entrant; it guards all that follows up to the empty line
        self._messages: deque[Message] = deque()
        self._thread: int | None = None
        self._has_begun = False
        self._is_done = False
        self._why_left: OSError | None = None

        self._error: BaseException | None = None
        self._head: Message | None = None
        self._is_head_sent = False
        # When the application last had the word, and who has it now.
        self._since = time.monotonic()
        self._is_sending = self._is_reading = False
        self._is_late = False

    # In the loop

    async def run(self, executor: Executor) -> "Late | None":
        """Carry it out. What the application raises is raised; None, or that it is overdue."""
        executor.submit(_begin, self._held)
        if self._limit:
            self._watch = self.loop.call_later(self._limit, self._look)
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._send_all()
                if self._is_done and not self._messages:
                    break
                if self._is_late and (late := self._leave()) is not None:
                    return late
        except BaseException as error:
            reason = ClientGone(f"the answer cannot be sent: {error!r}")
            self._let_go(reason.with_traceback(None))
            raise
        finally:
            if self._watch is not None:
                self._watch.cancel()
        raised, self._error = self._error, None
        if raised is not None:
            raise raised
        return None

    async def _send_all(self) -> None:
        while self._messages:
            self._is_sending = True
            try:
                with self._room:
                    message = self._messages.popleft()
                    self._room.notify()
                if message["type"] == "http.response.start":
                    self.is_started = True
                await self._send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    self.is_complete = True
            finally:
                self._is_sending = False
                self._since = time.monotonic()

    async def _received(self) -> Message:
        self._is_reading = True
        try:
            return await self._receive()
        finally:
            self._is_reading = False
            self._since = time.monotonic()

    def _look(self) -> None:
        """Now and then: whether it is overdue."""
        idle = self._idle()
        if idle >= self._limit:
            self._is_late = True
            self._news.set()
        else:
            self._watch = self.loop.call_later(self._limit - idle, self._look)

    def _idle(self) -> float:
        """Seconds for which it does nothing; what waits for the client does not count."""
        is_elsewhere = self._is_sending or self._is_reading or bool(self._messages) or self._is_done
        return 0.0 if is_elsewhere else time.monotonic() - self._since

    def _leave(self) -> "Late | None":
        """Let the thread alone; None if it came with something in this very moment."""
        self._is_late = False
        with self._room:
            if (seconds := self._idle()) < self._limit:
                self._look()
                return None
            # Of a thread that cannot go on to another request meanwhile.
            frame = None if self._thread is None else sys._current_frames().get(self._thread)
            late = Late(seconds, frame, self._has_begun)
            self._let_go(TookTooLong("the client had its answer already (--timeout-request)"))
        return late

    def _let_go(self, reason: OSError) -> None:
        self._held.clear()
        with self._room:
            self._why_left = self._why_left or reason
            self._messages.clear()
            self._room.notify()

    # In a thread

    def _work(self) -> None:
        with self._room:
            if self._why_left is not None:
                return
            self._has_begun, self._thread = True, threading.get_ident()
            self._since = time.monotonic()
        try:
            self._carry_out()
        except BaseException as error:
            self._error = error
        with self._room:
            self._thread = None
            self._is_done = True
            reason = self._why_left
        if reason is not None and not isinstance(self._error, OSError | None):
            request = f"{self._scope['method']} {quote(self._scope['path'])}"
            _log.warning("%s failed after it was over: %r", request, self._error)
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._news.set()
        self.is_over()

    def _carry_out(self) -> None:
        body = io.BufferedReader(RequestBody(self._received, self.loop), BUFFER)
        chunks = self._app(environ_of(self._scope, body), self._start_response)
        try:
            if isinstance(chunks, list | tuple) and len(chunks) == 1:
                self._write(chunks[0], is_last=True)
                return
            for chunk in chunks:
                if chunk:
                    self._write(chunk, is_last=False)
            self._write(b"", is_last=True)
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._is_head_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._head is not None:
            raise AssertionError(
                "start_response was called twice, the second time without exc_info"
            )
        self._head = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [
                (name.strip().lower().encode("latin-1"), value.strip().encode("latin-1"))
                for name, value in headers
            ],
        }
        return lambda chunk: self._write(chunk, is_last=False) if chunk else None

    def _write(self, chunk: bytes, *, is_last: bool) -> None:
        if self._head is None:
            raise AssertionError("the application has a body, and did not call start_response")
        messages: list[Message] = [] if self._is_head_sent else [self._head]
        self._is_head_sent = True
        messages.append({"type": "http.response.body", "body": chunk, "more_body": not is_last})
        if getattr(self._cycle, "disconnected", False):
            raise ClientGone("the client is gone")
        with self._room:
            while len(self._messages) >= _ROOM and self._why_left is None:
                self._room.wait()
            if self._why_left is not None:
                raise self._why_left
            is_first = not self._messages
            self._messages.extend(messages)
        if is_first:
            self._wake()

    def _wake(self) -> None:
        try:
            self.loop.call_soon_threadsafe(self._news.set)
        except RuntimeError as error:
            raise ClientGone("the worker is ending") from error


def _begin(held: list[WsgiCall]) -> None:
    """In a thread, when one is free."""
    try:
        call = held.pop()
    except IndexError:
        return  # nobody waits for it any more
    call._context.run(call._work)


class Late:
    """An application that is overdue."""

    def __init__(self, seconds: float, frame: FrameType | None, has_begun: bool) -> None:
        self.seconds = seconds
        """For which it did nothing, or waited for a thread."""
        self.frame = frame
        """Where it is; None: nowhere any more, or not yet."""
        self.has_begun = has_begun
