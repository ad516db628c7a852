"""Empty a server: wait until no connection is left, and cut what is left at the limit.

Nothing here looks around from time to time. Connections close themselves when they are quiet, and
say so when they are gone; one timer is the limit.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tercio.servers.port import Cut
from tercio.servers.uvicorn_http import Cycle, HttpProtocol
from tercio.servers.uvicorn_state import State
from tercio.servers.uvicorn_websocket import WebSocketProtocol

FAREWELL: Final = 0.25
"""Seconds after the limit for close frames to be answered."""

LAST_WORDS: Final = 0.1
"""Seconds for cut tasks to end.

The two, and what the worker then waits for threads, are 0.6 s: the primary kills after 1 s.
"""

_PATHS: Final = 10
_REASONS: Final = {1001: "going away", 1012: "service restart"}


class Drain:
    """One drain. It can be shortened while it runs."""

    def __init__(
        self, state: State, arrivals: Callable[[], int], drop_arrivals: Callable[[], None]
    ) -> None:
        self._state = state
        self._arrivals = arrivals
        self._drop_arrivals = drop_arrivals
        self._loop = asyncio.get_running_loop()
        self._deadline = float("inf")
        self._close_code = 1001
        self._changed = asyncio.Event()
        state.emptied = self.look

    def demand(self, limit: float, quiet: float, close_code: int, close_at_once: bool) -> None:
        """Set the terms, or sharpen them."""
        self._deadline = min(self._deadline, self._loop.time() + limit)
        self._close_code = close_code
        self._state.quiet = min(quiet, self._state.quiet) if self._state.is_draining else quiet
        self._state.is_draining = True
        if close_at_once:
            self._say_goodbye()
        for connection in self._connections():
            connection.begin_drain()
        self._changed.set()

    def look(self) -> None:
        """Something ended."""
        self._changed.set()

    async def run(self) -> Cut:
        """Wait for the end, or make it."""
        await self._until(lambda: self._deadline)
        cut = Cut()
        if not self._is_empty():
            cut = self._what_is_left()
            await self._end_connections()
        if left := list(self._state.tasks):
            self._state.error_log.is_cutting = True
            for task in left:
                task.cancel("the drain is over")
            await asyncio.wait(left, timeout=LAST_WORDS)
        return cut

    async def _end_connections(self) -> None:
        self._drop_arrivals()
        for connection in self._connections():
            if isinstance(connection, HttpProtocol):
                connection.transport.abort()
        self._say_goodbye()
        farewell = self._loop.time() + FAREWELL
        await self._until(lambda: farewell)
        for connection in self._connections():
            connection.transport.abort()

    async def _until(self, end: Callable[[], float]) -> None:
        """Return when all is done, or at ``end``, which a later demand may bring forward."""
        watched: set[asyncio.Task[None]] = set()
        while not self._is_empty() and self._loop.time() < end():
            if not self._state.connections:
                for task in self._state.tasks - watched:
                    task.add_done_callback(lambda task: self.look())
                    watched.add(task)
            self._changed.clear()
            try:
                async with asyncio.timeout_at(end()):
                    await self._changed.wait()
            except TimeoutError:
                pass  # the loop's condition knows

    def _is_empty(self) -> bool:
        if self._state.connections or self._arrivals():
            return False
        return not any(_is_worth_waiting(task) for task in self._state.tasks)

    def _connections(self) -> list[HttpProtocol | WebSocketProtocol]:
        connections: list[HttpProtocol | WebSocketProtocol] = list(self._state.connections)  # type: ignore[arg-type]
        return connections

    def _say_goodbye(self) -> None:
        reason = _REASONS.get(self._close_code, "")
        self._state.goodbye = (self._close_code, reason)
        for connection in self._connections():
            if isinstance(connection, WebSocketProtocol):
                connection.begin_drain()

    def _what_is_left(self) -> Cut:
        requests: list[str] = []
        websockets: list[str] = []
        counted: set[object] = set()
        for connection in self._connections():
            path = connection.unfinished()
            if path is None:
                continue
            if isinstance(connection, WebSocketProtocol):
                websockets.append(path)
            else:
                counted.add(connection.cycle)
                requests.append(path)
        for task in self._state.tasks:
            cycle = _cycle_of(task)
            if cycle is not None and cycle not in counted and _is_worth_waiting(task):
                requests.append(str(cycle.scope["path"]))
        paths = tuple(sorted({*requests, *websockets})[:_PATHS])
        return Cut(len(requests), len(websockets), paths)


def _cycle_of(task: asyncio.Task[None]) -> Cycle | None:
    """The request that a task works on; None for a WebSocket's."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    owner = frame.f_locals.get("self") if frame is not None else None
    return owner if isinstance(owner, Cycle) else None


def _is_worth_waiting(task: asyncio.Task[None]) -> bool:
    """Whether a task without a connection does more than write to nobody.

    It may work on after its answer, or on an order whose client did not wait. But an application
    that streams without listening for the disconnect would never end.
    """
    cycle = _cycle_of(task)
    return cycle is None or not cycle.response_started or cycle.response_complete
