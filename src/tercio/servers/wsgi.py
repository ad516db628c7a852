"""Serve a WSGI application: a2wsgi's bridge with a thread pool, and an end for lost clients.

Without that end an endless answer (server-sent events, a long poll) keeps its thread for ever once
its client is gone, and after ``threads`` of them the worker answers nobody.
"""

from collections.abc import Callable
from typing import Any

from a2wsgi.wsgi import WSGIMiddleware, WSGIResponder

from tercio.http.asgi import Receive, Scope, Send


class ClientGone(OSError):
    """The client left before its answer was complete; raised into the application's iterable."""


class WsgiApp:
    """A WSGI application as an ASGI one. It runs in ``threads`` threads of its own."""

    def __init__(self, app: Callable[..., Any], threads: int) -> None:
        # Any: a2wsgi has types of its own for what ASGI passes around.
        self._bridge: Any = WSGIMiddleware(app, workers=threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._bridge(scope, receive, send)
            return
        bridge = self._bridge
        responder: Any = _Responder(bridge.app, bridge.executor, bridge.send_queue_size)
        # The method of uvicorn's request cycle, which knows; another server's may not tell.
        responder.cycle = getattr(send, "__self__", None)
        try:
            await responder(scope, receive, send)
        except ClientGone:
            pass  # it ended the iterable, which is all it is for


class _Responder(WSGIResponder):
    cycle: object = None

    def send(self, message: Any) -> None:
        """In the application's thread."""
        if getattr(self.cycle, "disconnected", False):
            raise ClientGone("the client is gone")
        super().send(message)
