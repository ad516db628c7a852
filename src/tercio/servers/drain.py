"""Empty a server: wait until no connection is left, and cut what is left at the limit.

Nothing here looks around from time to time. Connections close themselves when they are quiet, and
say so when they are gone; one timer is the limit.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from tercio.servers import tasks
from tercio.servers.port import Away, Cut

FAREWELL: Final = 0.25
"""Seconds after the limit for close frames to be answered."""

LAST_WORDS: Final = 0.1
"""Seconds for cut tasks to end.

The two, and what the worker then waits for threads, are 0.6 s: the primary kills after 1 s.
"""

_PATHS: Final = 10
_REASONS: Final = {1001: "going away", 1012: "service restart"}


class Leaving(Protocol):
    """A connection."""

    @property
    def transport(self) -> asyncio.BaseTransport: ...
    @property
    def is_websocket(self) -> bool:
        """Whether it is to be told goodbye rather than cut."""

    def begin_drain(self) -> None:
        """The drain has begun, or its terms have changed."""

    def unfinished(self) -> str | None:
        """The path of what an end now would cut; None if that is nothing."""

    def abort(self) -> None:
        """End it at once."""


class Drained(Protocol):
    """What is emptied: the connections of a server, and what its application does for them."""

    goodbye: tuple[int, str] | None
    """Close code and reason, once WebSockets end."""
    is_cutting: bool
    """What is left is being cancelled."""

    @property
    def peers(self) -> Collection[Leaving]:
        """The connections."""

    @property
    def tasks(self) -> Collection["asyncio.Task[None]"]:
        """Everything of the application that runs."""

    def begin_drain(self, quiet: float) -> None:
        """Close what is idle for ``quiet`` seconds, and tell it to every connection."""

    def lonely(self) -> list[str | None]:
        """Paths of what runs without a connection, and is worth waiting for.

        None for what is waited for and not reported: the end of a WebSocket's application.
        """


class Drain:
    """One drain. It can be shortened while it runs."""

    def __init__(
        self, drained: Drained, arrivals: Callable[[], int], drop_arrivals: Callable[[], None]
    ) -> None:
        self._drained = drained
        self._arrivals = arrivals
        self._drop_arrivals = drop_arrivals
        self._loop = asyncio.get_running_loop()
        self._deadline = float("inf")
        self._close_code = 1001
        self._changed = asyncio.Event()
        self._task: asyncio.Task[Cut] | None = None
        self._away: Away | None = None
        self._quiet = float("inf")

    async def run(
        self,
        limit: float,
        quiet: float,
        close_code: int,
        close_at_once: bool,
        away: Away | None = None,
    ) -> Cut:
        """Begin, or sharpen the terms of what has begun; return what had to be cut."""
        self._deadline = min(self._deadline, self._loop.time() + limit)
        self._close_code = close_code
        if close_at_once:
            self._say_goodbye()
        self._quiet = min(quiet, self._quiet)
        if away is None:
            self._stay()
        elif self._task is None:
            # Nothing that can go on elsewhere is told of the end.
            self._away = away
            away.begin(limit, self._end_here, self.look)
        self._changed.set()
        if self._task is None:
            task = self._loop.create_task(self._empty(), name="tercio-drain")
            self._task = tasks.hide(task)
        # Shielded: two callers may wait, and neither may end it for the other.
        return await asyncio.shield(self._task)

    def look(self) -> None:
        """Something ended."""
        self._changed.set()

    def _stay(self) -> None:
        """Nothing goes elsewhere any more."""
        if self._away is not None:
            self._away.end()
        self._end_here()

    def _end_here(self) -> None:
        self._drained.begin_drain(self._quiet)

    async def _empty(self) -> Cut:
        await self._until(lambda: self._deadline)
        if self._away is not None:
            self._away.end()
        cut = Cut()
        if not self._is_empty():
            cut = self._what_is_left()
            await self._end_connections()
        if left := list(self._drained.tasks):
            self._drained.is_cutting = True
            for task in left:
                task.cancel("the drain is over")
            await asyncio.wait(left, timeout=LAST_WORDS)
        return cut

    async def _end_connections(self) -> None:
        self._drained.is_cutting = True
        self._drop_arrivals()
        for peer in list(self._drained.peers):
            if not peer.is_websocket:
                peer.abort()
        self._say_goodbye()
        farewell = self._loop.time() + FAREWELL
        await self._until(lambda: farewell)
        for peer in list(self._drained.peers):
            peer.abort()

    async def _until(self, end: Callable[[], float]) -> None:
        """Return when all is done, or at ``end``, which a later demand may bring forward."""
        watched: set[asyncio.Task[None]] = set()
        while not self._is_empty() and self._loop.time() < end():
            if not self._drained.peers:
                for task in set(self._drained.tasks) - watched:
                    task.add_done_callback(lambda task: self.look())
                    watched.add(task)
            self._changed.clear()
            try:
                async with asyncio.timeout_at(end()):
                    await self._changed.wait()
            except TimeoutError:
                pass  # the loop's condition knows

    def _is_empty(self) -> bool:
        if self._away is not None and self._away.outstanding:
            return False
        return not (self._drained.peers or self._arrivals() or self._drained.lonely())

    def _say_goodbye(self) -> None:
        self._drained.goodbye = (self._close_code, _REASONS.get(self._close_code, ""))
        for peer in list(self._drained.peers):
            if peer.is_websocket:
                peer.begin_drain()

    def _what_is_left(self) -> Cut:
        requests = [path for path in self._drained.lonely() if path is not None]
        websockets: list[str] = []
        for peer in list(self._drained.peers):
            path = peer.unfinished()
            if path is not None:
                (websockets if peer.is_websocket else requests).append(path)
        paths = tuple(sorted({*requests, *websockets})[:_PATHS])
        return Cut(len(requests), len(websockets), paths)
