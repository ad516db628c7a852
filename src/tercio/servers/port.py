"""What a worker needs of a server, and what a server tells its worker.

A server accepts, parses and answers on listeners that it is given. It opens and closes none,
handles no signal, and decides neither when it serves nor when it leaves.
"""

import socket
from collections.abc import Callable, Sequence
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


class Away(Protocol):
    """Where connections go in a drain, if there is somebody who goes on with them."""

    @property
    def outstanding(self) -> int:
        """Connections that have left, and have not arrived."""

    def begin(self, limit: float, stay: Callable[[], None], look: Callable[[], None]) -> None:
        """Send connections away from now on, for ``limit`` seconds at the most.

        ``stay`` is called once, when those that are left have to end here; ``look`` when some have
        arrived.
        """

    def end(self) -> None:
        """Send nothing more, and forget what was to be called."""


class Server(Protocol):
    """One server. `start` first and once, `stop` last and once; in between as often as wanted."""

    certified: Callable[[int], None]
    """Called with the Unix time at which the certificate ends that clients are shown from now on.
    To be set before the start."""

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

    async def drain(
        self,
        limit: float,
        quiet: float,
        close_code: int,
        close_at_once: bool,
        away: Away | None = None,
    ) -> Cut:
        """Finish what is there and return once no connection is left, ``limit`` s at the most.

        A kept-alive connection is closed when nothing came over it for ``quiet`` s. WebSockets
        are closed with ``close_code``, at the beginning or at the limit. With ``away`` connections
        go on elsewhere as long as they can, if the server is one that can move them: only those
        that cannot are closed so. Called again while it
        runs, it may only shorten what is going on; both callers get the same answer.
        """

    async def stop(self) -> None:
        """End what is left and run the application's shut-down."""

    def owned_fds(self) -> list[int]:
        """Listeners and connections: what a fork by application code must not keep open."""
