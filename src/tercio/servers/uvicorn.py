"""uvicorn as the server of a worker: its parser, protocols and TLS set-up, our life around them.

Of uvicorn's own `Server` nothing is used. It takes over signals, wakes up ten times a second, and
closes connections whose next request is on its way.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import cast

import uvicorn

from tercio.config import Config
from tercio.errors import ConfigError
from tercio.http import tls
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.servers import probe, tasks
from tercio.servers.certificates import Certificates
from tercio.servers.entrance import Entrance
from tercio.servers.lifespan import Lifespan
from tercio.servers.port import Cut
from tercio.servers.uvicorn_drain import Drain
from tercio.servers.uvicorn_http import HttpProtocol
from tercio.servers.uvicorn_state import State
from tercio.servers.uvicorn_websocket import WebSocketProtocol


class UvicornServer:
    """See `port.Server`. ``note`` takes a level and a line for the cluster's events."""

    def __init__(self, config: Config, note: Callable[[str, str], None]) -> None:
        self._config = config
        self._note = note
        self._entrance: Entrance | None = None
        self._drain: Drain | None = None
        self._drained: asyncio.Task[Cut] | None = None
        self._certificates: Certificates | None = None
        self._next_look: asyncio.TimerHandle | None = None

    async def start(self, app: App, listeners: Sequence[socket.socket], hooks: Hooks) -> None:
        self._loop = asyncio.get_running_loop()
        settings = self._settings(app)
        settings.load()
        try:
            context = tls.context(self._config)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(f"TLS cannot be set up (see --ssl-certfile): {error}") from error
        self._app = cast("App", settings.loaded_app)
        self._lifespan = Lifespan(self._app, self._config.lifespan)
        self._state = State(hooks, settings.encoded_headers, date_header=self._config.date_header)

        def protocol() -> HttpProtocol:
            return HttpProtocol(settings, self._state, self._lifespan.state, self._loop)

        self._entrance = Entrance(
            listeners,
            protocol,
            context,
            limit=self._config.limit_connections,
            held=lambda: len(self._state.connections),
            settled=self._settled,
            note=self._note,
        )
        self._state.left = self._entrance.look
        if context is not None:
            self._certificates = self._watched_files()
            self._look_at_certificates_later()
        await self._lifespan.start()

    async def serve(self) -> None:
        if self._drain is None and self._entrance is not None:
            self._entrance.resume()

    async def park(self) -> None:
        if self._entrance is not None:
            self._entrance.pause()

    async def probe(self, path: str) -> int:
        scheme = "https" if self._entrance and self._entrance.tls else "http"
        return await probe.get(
            self._app,
            path,
            root_path=self._config.root_path.rstrip("/"),
            host=self._host(),
            scheme=scheme,
            state=self._lifespan.state,
        )

    async def drain(self, limit: float, quiet: float, close_code: int, close_at_once: bool) -> Cut:
        await self.park()
        if self._drain is None or self._drained is None:
            entrance = self._entrance
            assert entrance is not None
            self._drain = Drain(self._state, lambda: entrance.arrivals, entrance.drop_arrivals)
            self._drain.demand(limit, quiet, close_code, close_at_once)
            task = self._loop.create_task(self._drain.run(), name="tercio-drain")
            self._drained = tasks.hide(task)
        else:
            self._drain.demand(limit, quiet, close_code, close_at_once)
        # Shielded: two callers may wait, and neither may end it for the other.
        return await asyncio.shield(self._drained)

    async def stop(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        if self._entrance is None:
            return
        await self.drain(0.0, 0.0, 1001, True)
        self._state.close()
        await self._lifespan.stop()

    def owned_fds(self) -> list[int]:
        if self._entrance is None:
            return []
        fds = self._entrance.fds()
        for connection in list(self._state.connections):
            sock = connection.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                fds.append(sock.fileno())
        return fds

    def _settings(self, app: App) -> uvicorn.Config:
        config = self._config
        return uvicorn.Config(
            # A factory: what is given plainly uvicorn calls without arguments, to see if it is one.
            app=lambda: app,
            factory=True,
            interface="asgi3",
            http=HttpProtocol,
            ws=WebSocketProtocol,
            ws_max_size=config.ws_max_size,
            ws_max_queue=config.ws_max_queue,
            ws_per_message_deflate=config.ws_per_message_deflate,
            ws_ping_interval=config.ws_ping_interval or None,
            ws_ping_timeout=config.ws_ping_timeout or None,
            lifespan="off",
            log_config=None,
            # Levels must be set: a logger without one makes uvicorn trace every connection.
            log_level=config.log_level,
            access_log=config.access_log,
            workers=1,  # else it reads WEB_CONCURRENCY, which need not be a number for us
            proxy_headers=config.proxy_headers,
            server_header=config.server_header,
            date_header=config.date_header,
            forwarded_allow_ips=config.forwarded_allow_ips,
            root_path=config.root_path.rstrip("/"),
            limit_concurrency=config.limit_concurrency,
            backlog=config.backlog,
            timeout_keep_alive=cast("int", config.timeout_keep_alive),
            headers=[_name_and_value(line) for line in config.header],
        )

    def _watched_files(self) -> Certificates:
        config = self._config

        files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
        return Certificates(files, lambda: tls.context(config), self._note)

    def _look_at_certificates_later(self) -> None:
        if interval := self._config.ssl_check_interval:
            # Not under 250 ms: an idle worker sleeps.
            self._next_look = self._loop.call_later(max(interval, 0.25), self._look_at_certificates)

    def _look_at_certificates(self) -> None:
        assert self._certificates is not None
        assert self._entrance is not None
        if (context := self._certificates.renewed()) is not None:
            self._entrance.tls = context
        self._look_at_certificates_later()

    def _settled(self) -> None:
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


def _name_and_value(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
