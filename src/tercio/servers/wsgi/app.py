"""A WSGI application as an ASGI one: threads, and an end for what never ends.

A client that is gone: an endless answer (server-sent events, a long poll) would keep its thread for
ever, and after ``threads`` of them the worker answers nobody. And an application that does nothing
for too long: its client gets an answer, and whoever listens learns where it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Final

from tercio.http.asgi import Receive, Scope, Send
from tercio.servers.wsgi.body import ClientGone
from tercio.servers.wsgi.call import Late, TookTooLong, WsgiCall, WsgiFunction

_RETRY_AFTER: Final = b"1"  # second, for a client that found no thread free


@dataclass(frozen=True, slots=True)
class Overdue:
    """A request without news for too long."""

    request: Scope
    """Its scope."""
    seconds: float
    """For which it waited, or did nothing."""
    frame: FrameType | None
    """Where the application is; None if the request waited for a thread."""
    stuck: int
    """Threads that work on what nobody waits for any more, this one included."""
    threads: int
    """That there are."""


class WsgiApp:
    """It runs in ``threads`` threads of its own.

    ``limit`` are the seconds that the application may take to begin an answer, or for each next
    piece of it; 0 is for ever. Python cannot end a thread, so one that overstays keeps its place;
    `Overdue` says how many do.
    """

    def __init__(
        self,
        app: WsgiFunction,
        threads: int,
        limit: float = 0.0,
        report: Callable[[Overdue], None] | None = None,
    ) -> None:
        self._app = app
        self._executor = ThreadPoolExecutor(threads, "WSGI")
        self._threads = threads
        self._limit = limit
        self._report = report
        self._stuck: set[WsgiCall] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            call = WsgiCall(self._app, scope, receive, send, self._limit)
            try:
                late = await call.run(self._executor)
            except ClientGone:
                return  # it ended what the application did, which is all it is for
            if late is not None:
                self._give_up(call, scope, late)
                await _apologize(call, late, send)

    def _give_up(self, call: WsgiCall, scope: Scope, late: Late) -> None:
        if late.has_begun:
            self._stuck.add(call)
            call.is_over = lambda: self._stuck.discard(call)
        if self._report is not None:
            stuck = len(self._stuck)
            self._report(Overdue(scope, late.seconds, late.frame, stuck, self._threads))


async def _apologize(call: WsgiCall, late: Late, send: Send) -> None:
    """Answer in the application's place; raises `TookTooLong` if it is too late for that."""
    if call.is_complete:
        return  # what it still does concerns nobody
    if call.is_started:
        raise TookTooLong("the application did not go on with its answer (--timeout-request)")
    status, text = (504, b"Gateway Timeout") if late.has_begun else (503, b"Service Unavailable")
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    if not late.has_begun:
        headers.append((b"retry-after", _RETRY_AFTER))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def _live(receive: Receive, send: Send) -> None:
    """WSGI knows of no beginning and no end."""
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
