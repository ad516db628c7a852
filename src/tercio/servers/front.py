"""What all servers of a worker have in common: listeners, lifespan, certificates, probe, drain."""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from tercio.config import Config
from tercio.errors import ConfigError
from tercio.http import tls
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.http.proxies import Proxies
from tercio.http.transports import descriptor_of
from tercio.servers import probe
from tercio.servers.certificates import Certificates
from tercio.servers.drain import Drain, Drained
from tercio.servers.entrance import Entrance, Turns
from tercio.servers.lifespan import Lifespan
from tercio.servers.peers import Peers
from tercio.servers.port import Away, Cut


class Engine(Drained, Protocol):
    """What a kind of server brings: its connections, and the protocol for new ones."""

    settled: Callable[[], None]
    """To be called when a connection or a task of the application is gone."""

    def connect(self) -> asyncio.Protocol:
        """A protocol for a new connection."""

    def close(self) -> None:
        """Let no timer stay behind."""


class Front(ABC):
    """See `port.Server`.

    ``note`` takes a level and a line for the cluster's events; see `Entrance` for ``turns``.
    """

    def __init__(
        self, config: Config, note: Callable[[str, str], None], turns: Turns | None = None
    ) -> None:
        self.config = config
        self._note = note
        self._turns = turns
        self.certified: Callable[[int], None] = lambda expires: None
        self._engine: Engine | None = None
        self._entrance: Entrance | None = None
        self._lifespan: Lifespan | None = None
        self._certificates: Certificates | None = None
        self._drain: Drain | None = None

    @abstractmethod
    def open(self, app: App, hooks: Hooks, state: dict[str, object]) -> Engine:
        """Get ready to speak. ``state`` is what the application's start-up left for requests."""

    async def start(self, app: App, listeners: Sequence[socket.socket], hooks: Hooks) -> None:
        config = self.config
        try:
            context = tls.context(config)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"TLS cannot be set up (see --ssl-certfile): {error}") from error
        self._app = app
        self._lifespan = Lifespan(app, config.lifespan)
        await self._lifespan.start()
        # After the start-up, which may have configured logging.
        engine = self._engine = self.open(app, hooks, self._lifespan.state)
        entrance = self._entrance = Entrance(
            listeners,
            engine.connect,
            context,
            limit=config.limit_connections,
            held=lambda: len(engine.peers),
            settled=self._settled,
            note=self._note,
            peers=self._peers(hooks),
            turns=self._turns,
        )
        engine.settled = self._settled
        if context is not None:
            self._certificates = Certificates(config, self._note, self.certified)
            self._certificates.watch(entrance)

    async def serve(self) -> None:
        if self._drain is None and self._entrance is not None:
            self._entrance.resume()

    async def park(self) -> None:
        if self._entrance is not None:
            self._entrance.pause()

    async def probe(self, path: str) -> int:
        assert self._lifespan is not None
        return await probe.get(
            self._app,
            path,
            root_path=self.config.root_path.rstrip("/"),
            host=self._host(),
            scheme="https" if self._entrance and self._entrance.tls else "http",
            state=self._lifespan.state,
        )

    async def drain(
        self,
        limit: float,
        quiet: float,
        close_code: int,
        close_at_once: bool,
        away: Away | None = None,
    ) -> Cut:
        if self._entrance is not None:
            self._entrance.finish()
        engine, entrance = self._engine, self._entrance
        if engine is None or entrance is None:
            return Cut()
        if self._drain is None:
            self._drain = Drain(engine, lambda: entrance.arrivals, entrance.drop_arrivals)
        return await self._drain.run(limit, quiet, close_code, close_at_once, away)

    async def stop(self) -> None:
        if self._certificates is not None:
            self._certificates.close()
        if self._engine is not None:
            await self.drain(0.0, 0.0, 1001, True)
            self._engine.close()
        if self._lifespan is not None:
            await self._lifespan.stop()

    def steal(self, listeners: Sequence[socket.socket], count: int) -> int:
        return self._entrance.steal(listeners, count) if self._entrance is not None else 0

    def owned_fds(self) -> list[int]:
        if self._entrance is None or self._engine is None:
            return []
        connections = [descriptor_of(peer.transport) for peer in list(self._engine.peers)]
        return [*self._entrance.fds(), *[fd for fd in connections if fd >= 0]]

    def extra_headers(self) -> list[tuple[str, str]]:
        """What ``--header`` adds to every response: names and values."""
        parts = (line.partition(":") for line in self.config.header)
        return [(name.strip(), value.strip()) for name, _, value in parts]

    def _peers(self, hooks: Hooks) -> Peers | None:
        limit = self.config.limit_peer_connections
        if not limit:
            return None
        trusted = Proxies(self.config.forwarded_allow_ips)
        if trusted.trusts_everyone:
            self._note(
                "warning",
                "--limit-peer-connections has no effect: --forwarded-allow-ips trusts everybody",
            )
        return Peers(limit, trusted, hooks.connection_refused, self._note)

    def _settled(self) -> None:
        if self._entrance is not None:
            self._entrance.look()
        if self._drain is not None:
            self._drain.look()

    def _host(self) -> str:
        """What a probe names as its host: where the server can be reached."""
        for listener in self._entrance.listeners if self._entrance else ():
            name = listener.getsockname()
            if isinstance(name, tuple):
                host = f"[{name[0]}]" if ":" in name[0] else name[0]
                return f"{host}:{name[1]}"
        return "localhost"
