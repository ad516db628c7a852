"""What a worker needs so that connections can leave for others, and come from them.

Opened, driven and closed in step with the worker's life. It decides nothing: what moves, and to
whom, is `handover`'s business. Without an exchange, or a server that can let go of connections,
all of it does nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tercio.config import Config
from tercio.dataplane.scoreboard import Row
from tercio.handover.exchange import Exchange
from tercio.handover.sticky import Sticky
from tercio.servers.port import Away, Server
from tercio.worker import rescuing
from tercio.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from tercio.handover.mover import Mover
    from tercio.handover.rescue import Rescue
    from tercio.servers.tercio import TercioServer


class Transfers:
    """Of one worker. All but the constructor is called in its loop's thread."""

    def __init__(self, server: Server, exchange: Exchange | None, sticky: Sticky | None) -> None:
        self._server = server
        self._exchange = exchange
        self._sticky = sticky
        self._mover: Mover | None = None
        self._rescue: Rescue | None = None

    def prepare(self) -> None:
        """Have requests go to the workers of their sessions; before the server starts."""
        if self._sticky is not None:
            cast("TercioServer", self._server).router = self._sticky

    def open(self, loop: asyncio.AbstractEventLoop, config: Config) -> None:
        """Take and give from now on, if the server is our own, and keeps no connection's secrets
        to itself."""
        if self._exchange is None or not config.moves_connections:
            return
        from tercio.handover.mover import Mover  # imports the server, which may be another one

        self._mover = Mover(self._exchange, cast("TercioServer", self._server))
        self._mover.open(loop)
        if self._sticky is not None:
            self._sticky.mover = self._mover

    async def begin_rescue(
        self, row: Row, config: Config, note: Callable[[str, str], None], watchdog: Watchdog
    ) -> None:
        """Let a thread give idle connections away while the loop is blocked."""
        if self._mover is not None:
            self._rescue = await rescuing.begin(self._mover, row, config, note, watchdog)

    def owe(self, count: int, seat: int) -> None:
        """Give ``count`` idle connections to the worker in ``seat``, as they come to rest."""
        if self._mover is not None:
            self._mover.owe(count, seat)

    def shut(self, *, for_good: bool) -> None:
        """This worker leaves: take nothing more.

        Sessions that are this worker's come back to it as long as it lives, unless it is
        ``for_good``.
        """
        if self._exchange is not None and (for_good or self._sticky is None):
            self._exchange.shut()

    def depart(self, heirs: Sequence[int] | None) -> Away | None:
        """The way on for connections of a worker that drains; None: they end here."""
        if self._mover is None or heirs is None:
            return None
        away = self._mover.depart(heirs)
        if self._sticky is not None:
            self._sticky.begin_to_leave()
            away.lingers = self._sticky.is_in_use
        return away

    def end_rescue(self) -> None:
        """Nothing blocks any more that anybody would have to be saved from."""
        if self._rescue is not None:
            self._rescue.stop()

    def close(self) -> None:
        """Refuse what still comes. Last: until then it is refused at once."""
        if self._exchange is not None:
            self._exchange.close()

    def fds(self) -> list[int]:
        """What no child of the application may keep."""
        return [
            *(self._exchange.fds() if self._exchange is not None else ()),
            *(self._rescue.fds() if self._rescue is not None else ()),
        ]
