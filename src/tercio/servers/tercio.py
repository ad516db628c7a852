"""Tercio's own server: the connections of `tercio.http`."""

import asyncio
import socket
from functools import partial
from typing import Final

from tercio.http import accounts
from tercio.http.asgi import App
from tercio.http.belonging import Belonging, Router
from tercio.http.connection import Connection
from tercio.http.hooks import Hooks
from tercio.http.limits import Limits
from tercio.http.luggage import Luggage
from tercio.http.proxies import Proxies
from tercio.http.service import Service
from tercio.servers.acceptor import Arrival
from tercio.servers.front import Engine, Front

_NOTHING: Final = Luggage()


class _Engine(Service):
    __slots__ = ("router",)

    router: Router | None

    def connect(self, luggage: Luggage | None = None) -> asyncio.Protocol:
        if self.router is not None:
            return Belonging(self, self.router, luggage)
        return Connection(self, luggage)


class TercioServer(Front):
    """See `port.Server`. ``service`` has the connections, once it is started."""

    service: Service
    router: Router | None = None
    """Who is asked where requests belong; to be set before the start."""

    def has_room(self, coming: int) -> bool:
        """Whether one more connection may come beside ``coming`` that are on their way."""
        return self._entrance is not None and self._entrance.has_room_beside(coming)

    def arrivals(self) -> list[Arrival]:
        """Connections that were accepted and have no protocol yet. In any thread."""
        return self._entrance.movable() if self._entrance is not None else []

    def adopt(self, connection: socket.socket, luggage: Luggage = _NOTHING) -> None:
        """Serve a connection that another worker took out of its loop."""
        assert self._entrance is not None
        self._entrance.adopt(connection, partial(self._ours.connect, luggage))

    def open(self, app: App, hooks: Hooks, state: dict[str, object]) -> Engine:
        config = self.config
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in self.extra_headers()
        ]
        if config.server_header:
            headers.insert(0, (b"server", b"tercio"))
        loop = asyncio.get_running_loop()
        access = accounts.access_log(config, loop)
        engine = self.service = self._ours = _Engine(
            accounts.accounted(app, config, loop),
            hooks,
            Limits.of(config),
            state=state,
            headers=headers,
            date_header=config.date_header,
            root_path=config.root_path.rstrip("/"),
            proxies=Proxies(config.forwarded_allow_ips) if config.proxy_headers else None,
            access=access,
            sends_files=config.pathsend,
        )
        engine.router = self.router
        return engine
