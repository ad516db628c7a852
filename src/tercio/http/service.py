"""What all connections of one server share: the application, limits, the Date header, a drain."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from email.utils import formatdate
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from tercio.http.access import AccessLog
from tercio.http.asgi import App
from tercio.http.hooks import Hooks, Watch
from tercio.http.limits import Limits
from tercio.http.proxies import Proxies
from tercio.http.response import HEAD
from tercio.http.turns import Turns

if TYPE_CHECKING:
    from tercio.http.request import Request
    from tercio.http.response import Response

_DATE_LASTS: Final = 1.0  # seconds
_LATE: Final = 0.5  # seconds that a busy loop may run a sweep late
_DRAIN_PERIOD: Final = 0.05  # seconds between two sweeps in a drain, which is no idle process


class Peer(Protocol):
    """A connection as the sweep and a drain see it: `Connection`, `WebSocket` or `Lingering`."""

    transport: asyncio.Transport

    def sweep(self, now: float) -> None:
        """Do what is due at ``now``, in the seconds of `time.monotonic`.

        It is the time of the sweep before: what was stamped with `Service.now`, which only a sweep
        sets, is never judged too early, and up to two periods late.
        """

    def begin_drain(self) -> None:
        """The service drains, or its terms changed: take nothing new, and leave when quiet."""

    def unfinished(self) -> str | None:
        """The path of what an end now would cut; None if that is nothing."""

    def abort(self) -> None:
        """End it at once, whatever was not sent."""

    @property
    def is_websocket(self) -> bool:
        """Whether it is to be told goodbye rather than cut."""


class Service:
    """One server's connections and what they have in common. Everything runs in the loop."""

    # With more than 30 attributes in its dict, reading each of them would cost more.
    __slots__ = (
        "_context",
        "_date_header",
        "_dated",
        "_fixed",
        "_held",
        "_period",
        "_sweeper",
        "access",
        "app",
        "connections",
        "fixed_lines",
        "goodbye",
        "has_writelines",
        "hooks",
        "is_cutting",
        "is_draining",
        "keeps_none",
        "limits",
        "log",
        "loop",
        "lost",
        "now",
        "proxies",
        "quiet",
        "root_path",
        "running",
        "sends_files",
        "settled",
        "state",
        "traffic",
        "turns",
        "watch",
    )

    def __init__(
        self,
        app: App,
        hooks: Hooks,
        limits: Limits,
        *,
        state: dict[str, Any],
        headers: Iterable[tuple[bytes, bytes]],
        date_header: bool,
        root_path: str,
        proxies: Proxies | None,
        access: AccessLog | None,
        sends_files: bool = False,
    ) -> None:
        self.app = app
        self.hooks = hooks
        self.traffic = hooks.traffic
        self.limits = limits
        self.state = state
        self.root_path = root_path
        self.proxies = proxies
        self.access = access
        self.loop = asyncio.get_running_loop()
        self.turns = Turns(self.loop)
        # asyncio joins them anyway, or (CVE-2024-12254) forgets to say when its buffer is full.
        self.has_writelines = not isinstance(self.loop, asyncio.BaseEventLoop)
        """Whether the transports write several buffers at once, without a copy."""
        self.log = logging.getLogger("tercio.http")
        self.watch: Watch | None = None
        self.now = monotonic()
        """The time of the last sweep. Good for time-outs, and free."""
        self.connections: set[Peer] = set()
        self.running: set[Request] = set()
        """Requests whose application has not returned; they hold their tasks: the loop doesn't."""
        self.lost: set[asyncio.Task[None]] = set()
        """Tasks of WebSockets that outlive their connections."""
        self.is_draining = False
        self.is_cutting = False
        """A drain is at its limit, and cancels what is left."""
        self.quiet = 0.0
        """Seconds a kept-alive connection must be idle to be closed in a drain."""
        self.goodbye: tuple[int, str] | None = None
        """Close code and reason, once WebSockets end."""
        self.settled: Callable[[], None] = _nothing
        """Called when a connection or a task is gone."""
        self._fixed = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._date_header = date_header
        self.fixed_lines = b""
        """`head_lines` without a look at whether they are stale: empty then."""
        self._dated: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._period = limits.sweep_period
        self.keeps_none = not limits.keep_alive_timeout
        """Every answer is the last of its connection."""
        self.sends_files = sends_files
        """Whether applications are told of `http.response.pathsend`."""
        self._context = copy_context()
        self._held: list[Response] = []  # heads that wait for their bodies

    @property
    def head_lines(self) -> bytes:
        """The lines that every response has: date, server and what the options add."""
        return self.fixed_lines or self.refresh()

    def refresh(self) -> bytes:
        """Make them anew: only the first response in a second pays, and nobody while idle."""
        if not self._date_header:
            self.fixed_lines = self._fixed
            return self._fixed
        self.fixed_lines = b"date: %b\r\n%b" % (formatdate(usegmt=True).encode(), self._fixed)
        self._dated = self.loop.call_later(_DATE_LASTS, self._grow_stale)
        return self.fixed_lines

    def _grow_stale(self) -> None:
        self.fixed_lines = b""

    def spawn(self, run: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """A task for a request, in a context of its own.

        Without that it would begin with the variables of whoever runs now: of the request before,
        whose answer let this one begin.
        """
        context = self._context.copy()
        if self.loop.get_task_factory() is not None:
            return context.run(self.loop.create_task, run)  # the application's start-up set one
        # A name of its own costs 0.15 us less: Python 3.11 writes "Task-17" at once.
        return asyncio.Task(run, loop=self.loop, name="request", context=context)

    @property
    def peers(self) -> set[Peer]:
        """The connections, as a drain calls them."""
        return self.connections

    @property
    def tasks(self) -> set["asyncio.Task[None]"]:
        """Everything of the application that runs."""
        running = (request.task for request in self.running)
        # A WebSocket's, too: a transport that was aborted tells its protocol a turn later.
        connected = (getattr(peer, "task", None) for peer in self.connections)
        every = (*running, *connected, *self.lost)
        return {task for task in every if task is not None and not task.done()}

    def lonely(self) -> list[str | None]:
        """Paths of what runs without a connection, and is worth waiting for."""
        paths = [
            str(request.scope["path"]) for request in self.running if request.is_lonely_and_useful
        ]
        return [*paths, *[None for task in self.lost if not task.done()]]

    @property
    def is_crowded(self) -> bool:
        """Whether the limit of connections and requests is reached, counted as uvicorn does."""
        limit = self.limits.concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.running) >= limit)

    def hold(self, response: "Response") -> None:
        """A head was made: it is written with its body, or after this turn of the loop alone."""
        if not self._held:
            self.loop.call_soon(self._flush_heads)
        self._held.append(response)

    def _flush_heads(self) -> None:
        held, self._held = self._held, []
        for response in held:
            if response.stage == HEAD:  # seldom: most have met their bodies
                response.flush_head()

    def joined(self, peer: Peer) -> None:
        """A connection was made, or took over from another protocol of its transport."""
        self.connections.add(peer)
        if self._sweeper is None:
            self.now = monotonic()
            self._sweeper = self.loop.call_later(self._period, self._sweep)

    def left(self, peer: object) -> None:
        """A connection is lost, or another protocol took over."""
        self.connections.discard(peer)
        self.settled()

    def outlives(self, task: asyncio.Task[None]) -> None:
        """An application goes on without its connection: keep the task, which the loop doesn't."""
        self.lost.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.lost.discard(task)
        self.settled()

    def begin_drain(self, quiet: float) -> None:
        """From now on answers are the last of their connections."""
        self.quiet = min(quiet, self.quiet) if self.is_draining else quiet
        self.is_draining = True
        self._period = _DRAIN_PERIOD
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = self.loop.call_later(self._period, self._sweep)
        for peer in list(self.connections):
            peer.begin_drain()

    def close(self) -> None:
        """Let no timer stay behind."""
        self.is_cutting = True
        for timer in (self._dated, self._sweeper):
            if timer is not None:
                timer.cancel()
        self.hooks.traffic_passed()

    def _sweep(self) -> None:
        """Look at every connection: one timer for all time-outs, none for each request.

        Setting and cancelling a timer costs more than answering a small request; to look at 10,000
        idle connections takes about a millisecond, once a period, and nothing without any.
        """
        self._sweeper = None
        before, self.now = self.now, monotonic()
        # After a blocked loop or a suspended machine nobody is judged: what they sent or read
        # meanwhile has not been seen.
        if self.now - before < 2 * self._period + _LATE:
            for peer in list(self.connections):
                try:
                    peer.sweep(before)
                except Exception:  # of one must not end the time-outs of all
                    self.log.exception("a connection cannot be looked after")
                    peer.abort()
        # Cancelled before their first step, they could not take themselves out.
        for request in [each for each in self.running if each.task and each.task.done()]:
            self.running.discard(request)
        self.hooks.traffic_passed()
        if self.connections:
            self._sweeper = self.loop.call_later(self._period, self._sweep)


def _nothing() -> None:
    pass
