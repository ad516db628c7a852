"""uvicorn's WebSocket protocol with counts, and with a close that says why.

Of uvicorn's two protocols over `websockets` this is the sans-I/O one: the other is built on
``websockets.legacy``, which warns that it is deprecated.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tercio.http.asgi import App, Receive, Scope, Send
from tercio.servers.uvicorn_state import State


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, from the request to upgrade on."""

    is_websocket = True

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.shared = server_state
        self.is_ended = False  # by us, with a goodbye
        self.is_asked = False
        self.app = cast("ASGI3Application", self._witnessed(cast("App", self.app)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.shared.hooks.websocket_opened()

    def data_received(self, data: bytes) -> None:
        if self.is_asked:
            self.shared.traffic.received += len(data)
        self.is_asked = True  # with the head, which came over HTTP and was counted there
        if not self.shared.is_fresh:
            self.shared.refresh()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.shared.hooks.websocket_closed()
        self.shared.connection_left()

    def begin_drain(self) -> None:
        """Say goodbye if it is time to."""
        if self.shared.goodbye is not None:
            self.say_goodbye(*self.shared.goodbye)

    def say_goodbye(self, code: int, reason: str) -> None:
        """Begin the closing handshake; one that is not accepted yet gets it right after."""
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            return
        self.is_ended = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:  # the peer's answer is to be read, whatever waits before it
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()

    def unfinished(self) -> str | None:
        """The path of the WebSocket: closing it is always a cut."""
        return str(self.scope["path"]) if hasattr(self, "scope") else ""

    def start_keepalive(self) -> None:
        """uvicorn calls this when the application has accepted."""
        super().start_keepalive()
        self.begin_drain()

    def _witnessed(self, app: App) -> App:
        """The application, with its exceptions counted on their way to uvicorn."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                return await app(scope, receive, send)
            except (asyncio.CancelledError, ClientDisconnected):
                raise
            except BaseException:
                self.shared.hooks.app_failed()
                raise

        return call

    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        if self.is_ended:
            # As if the client had gone, which an application has to expect at any time. uvicorn
            # would call it a message sent after the application's own close.
            raise ClientDisconnected
        return super().send(message)
