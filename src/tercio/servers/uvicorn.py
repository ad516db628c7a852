"""uvicorn as the server of a worker: its parser and protocols, our life around them.

Of uvicorn's own `Server` nothing is used. It takes over signals, wakes up ten times a second, and
closes connections whose next request is on its way.
"""

import asyncio
from typing import cast

import uvicorn

from tercio.config import Config
from tercio.http import accounts
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.servers.front import Engine, Front
from tercio.servers.uvicorn_http import HttpProtocol
from tercio.servers.uvicorn_state import State
from tercio.servers.uvicorn_websocket import WebSocketProtocol


class _Engine(State):
    def __init__(
        self,
        settings: uvicorn.Config,
        hooks: Hooks,
        state: dict[str, object],
        has_accounts: bool,
    ) -> None:
        date_header = settings.date_header
        super().__init__(hooks, settings.encoded_headers, date_header=date_header)
        self._settings = settings
        self._app_state = state
        self._our_loop = asyncio.get_running_loop()
        self._has_accounts = has_accounts

    def connect(self) -> asyncio.Protocol:
        protocol = HttpProtocol(self._settings, self, self._app_state, self._our_loop)
        if self._has_accounts:
            protocol.access_log = False  # the line is written when the answer is complete
        return protocol


class UvicornServer(Front):
    """See `port.Server`."""

    def open(self, app: App, hooks: Hooks, state: dict[str, object]) -> Engine:
        config = self.config
        app = accounts.accounted(app, config, asyncio.get_running_loop())
        settings = _settings(config, app, self.extra_headers())
        settings.load()
        return _Engine(settings, hooks, state, config.has_accounts)


def _settings(config: Config, app: App, headers: list[tuple[str, str]]) -> uvicorn.Config:
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
        headers=headers,
    )
