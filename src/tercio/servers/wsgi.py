"""Serve a WSGI application: a2wsgi's bridge with a thread pool, and an end for what never ends.

A client that is gone: an endless answer (server-sent events, a long poll) would keep its thread for
ever, and after ``threads`` of them the worker answers nobody. And an application that does nothing
for too long: its client gets an answer, and whoever listens learns where it is.
"""

import asyncio
import io
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from a2wsgi.wsgi import WSGIMiddleware, WSGIResponder

from tercio.http.asgi import Message, Receive, Scope, Send
from tercio.servers.wsgi_headers import for_environ
from tercio.servers.wsgi_input import BUFFER, ClientGone, RequestBody

_log = logging.getLogger("tercio.worker")

_RETRY_AFTER: Final = b"1"  # second, for a client that found no thread free


class TookTooLong(OSError):
    """The answer comes after its time-out; raised into the application's iterable."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A request without news for too long."""

    request: str
    """Its method and path."""
    seconds: float
    """For which it waited, or did nothing."""
    thread: int | None
    """That works on it; None if it waited for one."""
    stuck: int
    """Threads that work on what nobody waits for any more, this one included."""
    threads: int
    """That there are."""


class WsgiApp:
    """A WSGI application as an ASGI one. It runs in ``threads`` threads of its own.

    ``limit`` are the seconds that it may take to begin an answer, or for each next piece of it; 0
    is for ever. Python cannot end a thread, so one that overstays keeps its place; `Overdue` says
    how many do.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        threads: int,
        limit: float = 0.0,
        report: Callable[[Overdue], None] | None = None,
    ) -> None:
        # Any: a2wsgi has types of its own for what ASGI passes around.
        self._bridge: Any = WSGIMiddleware(app, workers=threads)
        self._threads = threads
        self._limit = limit
        self._report = report
        self._stuck: set[object] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._bridge(scope, receive, send)
            return
        scope = {**scope, "headers": for_environ(scope["headers"])}
        bridge = self._bridge
        responder: Any = _Responder(bridge.app, bridge.executor, bridge.send_queue_size)
        # The method of uvicorn's request cycle, which knows; another server's may not tell.
        responder.cycle = getattr(send, "__self__", None)
        try:
            if self._limit:
                await self._in_time(_Timed(scope, receive, send), responder)
            else:
                responder.receive = receive
                await responder(scope, receive, send)
        except ClientGone:
            pass  # it ended what the application did, which is all it is for

    async def _in_time(self, timed: "_Timed", responder: Any) -> None:
        responder.timed, responder.stuck = timed, self._stuck
        responder.receive = timed.receive
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as clock:
                timed.watch = loop.call_later(self._limit, timed.look, self._limit, clock)
                try:
                    await responder(timed.scope, timed.receive, timed.send)
                finally:
                    timed.watch.cancel()
        except TimeoutError:
            if not clock.expired():
                raise  # the application's own
        else:
            return
        thread = responder.abandon()
        self._tell(timed, thread)
        await timed.apologize(has_begun=thread is not None)

    def _tell(self, timed: "_Timed", thread: int | None) -> None:
        request = f"{timed.scope['method']} {timed.scope['path']}"
        if self._report is not None:
            seconds = time.monotonic() - timed.since
            stuck = len(self._stuck)
            self._report(Overdue(request, seconds, thread, stuck, self._threads))


class _Timed:
    """What a request's time-out has to know. The application's time runs, not its client's."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.since = time.monotonic()
        """When the application last had news; infinity while it waits for the client."""
        self.watch: asyncio.TimerHandle
        self._receive = receive
        self._send = send
        self._is_started = False

    def look(self, limit: float, clock: asyncio.Timeout) -> None:
        """In the loop, now and then."""
        loop = asyncio.get_running_loop()
        idle = time.monotonic() - self.since
        if idle >= limit:
            clock.reschedule(loop.time())
        else:
            self.watch = loop.call_later(limit - max(idle, 0.0), self.look, limit, clock)

    async def receive(self) -> Message:
        self.since = math.inf
        try:
            return await self._receive()
        finally:
            self.since = time.monotonic()

    async def send(self, message: Message) -> None:
        self._is_started = True
        await self._send(message)

    async def apologize(self, *, has_begun: bool) -> None:
        """Answer in the application's place; raises `TookTooLong` if it is too late for that."""
        if self._is_started:
            raise TookTooLong("the application did not go on with its answer (--timeout-request)")
        status, text = (504, b"Gateway Timeout") if has_begun else (503, b"Service Unavailable")
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
        if not has_begun:
            headers.append((b"retry-after", _RETRY_AFTER))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": text})


class _Responder(WSGIResponder):
    receive: Receive
    cycle: object = None
    timed: _Timed | None = None
    stuck: set[object]
    _thread: int | None = None
    _is_abandoned = False

    def wsgi(self, environ: Any, start_response: Any) -> None:
        """In a thread, all of it."""
        self._thread = threading.get_ident()
        environ["wsgi.input"] = io.BufferedReader(RequestBody(self.receive, self.loop), BUFFER)
        if self._is_abandoned:  # just before its turn came
            return
        try:
            super().wsgi(environ, start_response)
        except (ClientGone, TookTooLong):
            if not self._is_abandoned:
                raise
        except Exception:
            if not self._is_abandoned:
                raise
            _log.exception("an exception after the request's time-out")
        finally:
            self._thread = None
            if self._is_abandoned:
                self.stuck.discard(self)

    def send(self, message: Any) -> None:
        """In the application's thread."""
        if getattr(self.cycle, "disconnected", False):
            raise ClientGone("the client is gone")
        if self._is_abandoned:
            raise TookTooLong("the client had its answer already (--timeout-request)")
        if self.timed is None:
            super().send(message)
            return
        self.timed.since = math.inf
        try:
            super().send(message)
        finally:
            self.timed.since = time.monotonic()

    def abandon(self) -> int | None:
        """Nobody waits any more. The thread that works on it, if one does. In the loop."""
        self._is_abandoned = True
        thread = self._thread
        if thread is not None:
            self.stuck.add(self)
            if self._thread is None:  # it ended just now
                self.stuck.discard(self)
        while not self.send_queue.empty():  # it may wait for room here
            self.send_queue.get_nowait()
        return thread
