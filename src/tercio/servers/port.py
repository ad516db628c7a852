"""What a worker needs of a server, and what a server tells its worker.

A server accepts, parses and answers on listeners that it is given. It opens and closes none,
handles no signal, and decides neither when it serves nor when it leaves.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tercio.http.asgi import App
from tercio.http.hooks import Hooks


@dataclass(frozen=True, slots=True)
class Cut:
    """What a drain had to end at its limit."""

    requests: int = 0
    websockets: int = 0
    paths: tuple[str, ...] = ()  # at most ten

    def __bool__(self) -> bool:
        return bool(self.requests or self.websockets)


class Server(Protocol):
    """One server. `start` first and once, `stop` last and once; in between as often as wanted."""

    async def start(self, app: App, listeners: Sequence[socket.socket], hooks: Hooks) -> None:
        """Get ready to accept and run the application's start-up. Raises `AppStartFailed`."""

    async def serve(self) -> None:
        """Accept connections."""

    async def park(self) -> None:
        """Accept none; the connections that are there go on, and the listeners stay open."""

    def steal(self, listeners: Sequence[socket.socket], count: int) -> int:
        """Accept up to ``count`` connections now that wait at listeners of other slots.

        Returns how many it was: fewer if no more wait, if there is no room for more, or if this
        server does not serve.
        """

    async def probe(self, path: str) -> int:
        """The status that the application answers to ``GET path``, without a connection."""

    async def drain(self, limit: float, quiet: float, close_code: int, close_at_once: bool) -> Cut:
        """Finish what is there and return once no connection is left, ``limit`` s at the most.

        A kept-alive connection is closed when nothing came over it for ``quiet`` s. WebSockets
        are closed with ``close_code``, at the beginning or at the limit. Called again while it
        runs, it may only shorten what is going on; both callers get the same answer.
        """

    async def stop(self) -> None:
        """End what is left and run the application's shut-down."""

    def owned_fds(self) -> list[int]:
        """Listeners and connections: what a fork by application code must not keep open."""
