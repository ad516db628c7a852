"""What all connections of one uvicorn server share: counts, the Date header, a drain."""

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, cast

from uvicorn.server import ServerState

from tercio.http.hooks import Hooks

if TYPE_CHECKING:
    from tercio.servers.uvicorn_http import Cycle, HttpProtocol
    from tercio.servers.uvicorn_websocket import WebSocketProtocol


class State(ServerState):
    """uvicorn's shared state, and ours beside it."""

    def __init__(
        self, hooks: Hooks, headers: list[tuple[bytes, bytes]], *, date_header: bool
    ) -> None:
        super().__init__()
        self.hooks = hooks
        self.traffic = hooks.traffic
        self.error_log = ErrorLog("uvicorn.error", hooks)
        self.is_fresh = False  # whether default_headers carry this second's date, and bytes count
        self.is_draining = False
        self.quiet = 0.0  # seconds a kept-alive connection must be idle to be closed in a drain
        self.goodbye: tuple[int, str] | None = None  # close code and reason, once WebSockets end
        self.settled: Callable[[], None] = _nothing  # a connection is gone
        self._headers = headers
        self._date_header = date_header
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def refresh(self) -> None:
        """Write this second's date, for the first bytes in a second, and tell of them later.

        uvicorn does so ten times a second for ever; without traffic nothing happens here.
        """
        self.is_fresh = True
        if self._date_header:
            date = (b"date", formatdate(usegmt=True).encode())
            self.default_headers = [date, *self._headers]
        else:
            self.default_headers = self._headers
        self._timer = self._loop.call_later(1.0, self._grow_stale)

    def connection_left(self) -> None:
        """A connection is gone, after it was taken from ``connections``."""
        self.hooks.connection_lost()
        self.settled()

    @property
    def peers(self) -> "set[HttpProtocol | WebSocketProtocol]":
        """The connections, as a drain calls them."""
        return cast("set[HttpProtocol | WebSocketProtocol]", self.connections)

    def begin_drain(self, quiet: float) -> None:
        """Close what is idle for ``quiet`` seconds; answers are the last of their connections."""
        self.quiet = min(quiet, self.quiet) if self.is_draining else quiet
        self.is_draining = True
        for peer in list(self.peers):
            peer.begin_drain()

    def lonely(self) -> list[str | None]:
        """Paths of what runs without a connection, and is worth waiting for.

        It may work on after its answer, or on an order whose client did not wait. But an
        application that streams without listening for the disconnect would never end.
        """
        cycles = [_cycle_of(task) for task in self.tasks if not task.done()]
        requests = [
            str(cycle.scope["path"])
            for cycle in cycles
            if cycle is not None
            and (cycle.response_complete or (cycle.disconnected and not cycle.response_started))
        ]
        if self.connections:
            return [*requests]
        return [*requests, *[None for cycle in cycles if cycle is None]]

    @property
    def is_cutting(self) -> bool:
        """A drain is at its limit, and cancels what is left."""
        return self.error_log.is_cutting

    @is_cutting.setter
    def is_cutting(self, value: bool) -> None:
        self.error_log.is_cutting = value

    def close(self) -> None:
        """Let no timer stay behind."""
        if self._timer is not None:
            self._timer.cancel()
        self.hooks.traffic_passed()

    def _grow_stale(self) -> None:
        self.is_fresh = False
        self.hooks.traffic_passed()


class ErrorLog(logging.Logger):
    """The logger of requests: what uvicorn reports there as an exception left the application.

    A wrapper around the application would see the same, and cost a coroutine for every request.
    """

    def __init__(self, name: str, hooks: Hooks) -> None:
        super().__init__(name)
        self._hooks = hooks
        self._target = logging.getLogger(name)
        self.is_cutting = False  # a drain is at its limit, and cancels what is left

    def error(self, msg: object, *args: object, **more: Any) -> None:
        failure = more.get("exc_info")
        if isinstance(failure, asyncio.CancelledError):
            if self.is_cutting:
                return  # the drain reports it, with the path
        elif failure is not None:
            self._hooks.app_failed()
        self._target.error(msg, *args, **more)


def _cycle_of(task: "asyncio.Task[None]") -> "Cycle | None":
    """The request that a task works on; None for a WebSocket's."""
    from tercio.servers.uvicorn_http import Cycle

    frame = getattr(task.get_coro(), "cr_frame", None)
    owner = frame.f_locals.get("self") if frame is not None else None
    return owner if isinstance(owner, Cycle) else None


def _nothing() -> None:
    pass
