"""What all connections of one server share: the application, limits, the Date header, a drain."""

import asyncio
import logging
from collections.abc import Callable, Iterable, MutableMapping
from email.utils import formatdate
from time import monotonic
from typing import Any, Final, Protocol

from tercio.http.access import AccessLog
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.http.limits import Limits
from tercio.http.proxies import Proxies

_DATE_LASTS: Final = 1.0  # seconds
_DRAIN_PERIOD: Final = 0.05  # seconds between two sweeps in a drain, which is no idle process


class Peer(Protocol):
    """A connection as the sweep and a drain see it: `Connection`, `WebSocket` or `Lingering`."""

    transport: asyncio.Transport

    def sweep(self, now: float) -> None:
        """Do what is due at ``now``, in the seconds of `time.monotonic`."""

    def begin_drain(self) -> None:
        """The service drains, or its terms changed: take nothing new, and leave when quiet."""

    def unfinished(self) -> str | None:
        """The path of what an end now would cut; None if that is nothing."""

    @property
    def is_websocket(self) -> bool:
        """Whether it is to be told goodbye rather than cut."""


class Service:
    """One server's connections and what they have in common. Everything runs in the loop."""

    def __init__(
        self,
        app: App,
        hooks: Hooks,
        limits: Limits,
        *,
        state: MutableMapping[str, Any],
        headers: Iterable[tuple[bytes, bytes]],
        date_header: bool,
        root_path: str,
        proxies: Proxies | None,
        access: AccessLog | None,
    ) -> None:
        self.app = app
        self.hooks = hooks
        self.limits = limits
        self.state = state
        self.root_path = root_path
        self.proxies = proxies
        self.access = access
        self.loop = asyncio.get_running_loop()
        self.log = logging.getLogger("tercio.http")
        self.connections: set[Peer] = set()
        self.lost: set[asyncio.Task[None]] = set()
        """Tasks that outlive their connections."""
        self.is_draining = False
        self.quiet = 0.0
        """Seconds a kept-alive connection must be idle to be closed in a drain."""
        self.goodbye: tuple[int, str] | None = None
        """Close code and reason, once WebSockets end."""
        self.settled: Callable[[], None] = _nothing
        """Called when a connection or a task is gone."""
        self._fixed = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._date_header = date_header
        self._head_lines = b""
        self._dated: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._period = limits.sweep_period

    @property
    def head_lines(self) -> bytes:
        """The lines that every response has: date, server and what the options add."""
        return self._head_lines or self._refresh()

    def _refresh(self) -> bytes:
        # Only the first response in a second pays, and an idle worker has no timer.
        if not self._date_header:
            self._head_lines = self._fixed
            return self._fixed
        self._head_lines = b"date: %b\r\n%b" % (formatdate(usegmt=True).encode(), self._fixed)
        self._dated = self.loop.call_later(_DATE_LASTS, self._grow_stale)
        return self._head_lines

    def _grow_stale(self) -> None:
        self._head_lines = b""

    def joined(self, peer: Peer) -> None:
        """A connection was made, or took over from another protocol of its transport."""
        self.connections.add(peer)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self._period, self._sweep)

    def left(self, peer: Peer) -> None:
        """A connection is lost, or another protocol took over."""
        self.connections.discard(peer)

    def outlives(self, task: asyncio.Task[None]) -> None:
        """A request goes on without its connection: keep its task, which the loop does not."""
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
        for timer in (self._dated, self._sweeper):
            if timer is not None:
                timer.cancel()

    def _sweep(self) -> None:
        """Look at every connection: one timer for all time-outs, none for each request.

        Setting and cancelling a timer costs more than answering a small request; to look at 10,000
        idle connections takes about a millisecond, once a period, and nothing without any.
        """
        self._sweeper = None
        now = monotonic()
        for peer in list(self.connections):
            peer.sweep(now)
        if self.connections:
            self._sweeper = self.loop.call_later(self._period, self._sweep)


def _nothing() -> None:
    pass
