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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from types import FrameType
from typing import Any, Final
from urllib.parse import quote

from tercio.http.asgi import Message, Receive, Scope, Send
from tercio.servers.wsgi.answer import Answer
from tercio.servers.wsgi.body import BUFFER, ClientGone, RequestBody, has_body
from tercio.servers.wsgi.environ import environ_of
from tercio.servers.wsgi.inbox import Inbox

_log = logging.getLogger("tercio.worker")

_ROOM: Final = 10
"""Messages that wait to be sent; the application waits with the next one."""
_HIGH_WATER: Final = 256 * 1024
"""Bytes of them, likewise."""

_HARMLESS: Final = frozenset({"GET", "HEAD"})
"""Of a request that nobody waits for any more, nothing is lost (RFC 9110, 9.2.1)."""

WsgiFunction = Callable[..., Iterable[bytes]]


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
        self._inbox = Inbox(receive, self._lose)
        self._first: Message | None = None  # of the body, or all of it
        self._send = send
        self._limit = limit
        # The method of uvicorn's request cycle, and of our requests; another server's may not tell.
        self._cycle: Any = getattr(send, "__self__", None)
        self._is_told = hasattr(self._cycle, "disconnected")
        self._news = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        # What the executor keeps until a thread is free, however long that takes.
        self._held: list[WsgiCall] = [self]
        self._context = copy_context()
        self._room = (
            threading.Condition()
        )  # re-entrant; it guards all that follows up to the empty line
        self._messages: deque[Message] = deque()
        self._size = 0  # of what is in them
        self._thread: int | None = None
        self._has_begun = False
        self._is_done = False
        self._why_left: tuple[type[OSError], str] | None = None

        self._error: BaseException | None = None
        # When the application last had the word, and who has it now.
        self._since = time.monotonic()
        self._is_sending = False
        self._is_late = False

    # In the loop

    async def run(self, executor: Executor) -> "Late | None":
        """Carry it out. What the application raises is raised; None, or that it is overdue."""
        if has_body(self._scope):
            # Most are here already: a trip of the thread to the loop costs more than all the rest.
            # And a thread has better things to do than to wait for a slow client.
            self._first = await self._inbox.take()
            if self._first["type"] == "http.disconnect":
                raise ClientGone("the client left before its request came")
            self._since = time.monotonic()
        if self._limit:
            self._watch = self.loop.call_later(self._limit, self._look)
        try:
            executor.submit(_begin, self._held)
            while True:
                await self._news.wait()
                self._news.clear()
                await self._send_all()
                if self._is_done and not self._messages:
                    break
                if self._is_late and (late := self._leave()) is not None:
                    return late
        except BaseException as error:
            self._let_go(ClientGone, f"the answer cannot be sent: {error!r}")
            raise
        finally:
            self._inbox.close()
            if self._watch is not None:
                self._watch.cancel()
        raised, self._error = self._error, None
        try:
            if raised is not None:
                raise raised
        finally:
            del raised  # this frame is in its traceback: neither would ever go
        return None

    async def _send_all(self) -> None:
        while self._messages:
            self._is_sending = True
            try:
                with self._room:
                    message = self._messages.popleft()
                    self._size -= len(message.get("body", b""))
                    self._room.notify()
                if message["type"] == "http.response.start":
                    self.is_started = True
                await self._send(message)
                if message["type"] == "http.response.body":
                    if not message["more_body"]:
                        self.is_complete = True
                    elif not self._is_told:
                        self._inbox.watch()
            finally:
                self._is_sending = False
                self._since = time.monotonic()

    async def _received(self) -> Message:
        try:
            return await self._inbox.take()
        finally:
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
        is_sent = self._is_sending or bool(self._messages)
        is_elsewhere = is_sent or self._inbox.is_read or self._is_done
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
            self._let_go(TookTooLong, "the client had its answer already (--timeout-request)")
        return late

    def _lose(self) -> None:
        self._let_go(ClientGone, "the client is gone")

    def _let_go(self, kind: type[OSError], text: str) -> None:
        """The thread is told when it wants something next."""
        self._held.clear()
        with self._room:
            self._why_left = self._why_left or (kind, text)
            self._messages.clear()
            self._size = 0
            self._room.notify()

    # In a thread

    def _work(self) -> None:
        with self._room:
            if self._why_left is not None:
                return
            self._has_begun, self._thread = True, threading.get_ident()
            self._since = time.monotonic()
        try:
            if self._is_gone and self._scope["method"] in _HARMLESS:
                raise ClientGone("the client left before a thread was free")
            self._carry_out()
        except BaseException as error:
            self._error = error
        with self._room:
            self._thread = None
            self._is_done = True
            reason = self._why_left
        if reason is not None:
            self._complain()
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._end)

    def _complain(self) -> None:
        """Log what nobody raises any more."""
        error, self._error = self._error, None
        if not isinstance(error, OSError | None):
            request = f"{self._scope['method']} {quote(self._scope['path'])}"
            _log.warning("%s failed after it was over: %r", request, error)

    def _end(self) -> None:
        self._news.set()
        self.is_over()

    def _carry_out(self) -> None:
        body = io.BufferedReader(RequestBody(self._first, self._received, self.loop), BUFFER)
        answer = Answer(self._scope["method"], self._put)
        chunks = self._app(environ_of(self._scope, body), answer.start)
        try:
            if isinstance(chunks, list | tuple) and len(chunks) == 1:
                answer.end(chunks[0])
                return
            for chunk in chunks:
                answer.write(chunk)
            answer.end()
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()

    def _put(self, messages: Sequence[Message], size: int) -> None:
        if self._is_gone:
            raise ClientGone("the client is gone")
        with self._room:
            while self._is_full and self._why_left is None:
                self._room.wait()
            if self._why_left is not None:
                kind, text = self._why_left
                raise kind(text)
            is_first = not self._messages
            self._messages.extend(messages)
            self._size += size
        if is_first:
            self._wake()

    @property
    def _is_full(self) -> bool:
        return len(self._messages) >= _ROOM or self._size >= _HIGH_WATER

    @property
    def _is_gone(self) -> bool:
        return self._is_told and bool(self._cycle.disconnected)

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
