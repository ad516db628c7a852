"""One request, or one WebSocket, of an application behind granian: counted, and told to leave.

granian tells nobody when a connection comes, is idle or goes. What it tells is an ASGI call, so
here everything is done around that: counts, access lines, headers, ``Connection: close``.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Final, Protocol

from tercio.http.access import AccessLog, log_websocket
from tercio.http.asgi import Message, Scope
from tercio.http.hooks import Hooks
from tercio.servers.drain import FAREWELL

_log = logging.getLogger("tercio.http")

_CLOSE: Final = (b"connection", b"close")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")


class Channel(Protocol):
    """granian's end of a request or a WebSocket."""

    def receive(self) -> Awaitable[Message]: ...
    def send(self, message: Message) -> Awaitable[None]: ...


class Terms:
    """What all exchanges of one server share."""

    def __init__(
        self, hooks: Hooks, headers: list[tuple[bytes, bytes]], access: AccessLog | None
    ) -> None:
        self.hooks = hooks
        self.headers = headers
        self.access = access
        self.is_draining = False
        self.is_cutting = False  # what is cancelled now is reported by the drain


class Exchange:
    """A request and its answer."""

    is_websocket = False

    def __init__(self, terms: Terms, scope: Scope, channel: Channel) -> None:
        self.scope = scope
        self._terms = terms
        self._channel = channel
        self._status = 0
        self._is_complete = False
        self._is_gone = False  # the client, as far as the application was told
        self._began = time.monotonic()
        terms.hooks.request_begun()

    @property
    def is_answered(self) -> bool:
        """The application works on after its answer."""
        return self._is_complete

    async def receive(self) -> Message:
        """ASGI's."""
        message = await self._channel.receive()
        self._is_gone = self._is_gone or message["type"] == "http.disconnect"
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """ASGI's."""
        match message["type"]:
            case "http.response.start":
                message = self._start(message)
            case "http.response.pathsend":
                self._end()
            case _ if not message.get("more_body", False):
                self._end()
        return self._channel.send(message)

    async def finish(self, failure: BaseException | None) -> None:
        """The application returned, or raised."""
        if failure is not None:
            _report(self._terms, failure)
        elif not self._status and not self._is_gone:
            _log.error("ASGI callable returned without starting response.")
        if not self._status and not self._terms.is_cutting:
            await self.send({"type": "http.response.start", "status": 500, "headers": [_TEXT]})
            await self.send({"type": "http.response.body", "body": b"Internal Server Error"})
        self._end()

    def _start(self, message: Message) -> Message:
        headers = _headers(message)
        headers += self._terms.headers
        if self._terms.is_draining and self.scope["http_version"][0] == "1":
            headers = [header for header in headers if header[0] != b"connection"]
            headers.append(_CLOSE)
        if not self._status:
            self._status = int(message["status"])
            self._write_line()
        return {"type": message["type"], "status": int(message["status"]), "headers": headers}

    def _write_line(self) -> None:
        if self._terms.access is not None:
            self._terms.access.write(self.scope, self._status)

    def _end(self) -> None:
        if not self._is_complete:
            self._is_complete = True
            self._terms.hooks.request_ended(self._status, time.monotonic() - self._began)


class Talk:
    """A WebSocket."""

    is_websocket = True
    is_answered = False

    def __init__(self, terms: Terms, scope: Scope, channel: Channel) -> None:
        self.scope = scope
        self._terms = terms
        self._channel = channel
        self._is_open = False
        self._is_over = False  # by the application
        self._denial = bytearray()
        self._goodbye: tuple[int, str] | None = None
        self._pending: asyncio.Task[Message] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """ASGI's."""
        if self._goodbye is None:
            # A task, so that it can be ended: granian sends no close while it waits to receive.
            pending = self._pending = asyncio.ensure_future(_message(self._channel.receive()))
            try:
                await asyncio.wait({pending})
            except asyncio.CancelledError:
                pending.cancel()
                raise
            finally:
                self._pending = None
            if not pending.cancelled():
                return pending.result()
        code, reason = self._goodbye or (1006, "")
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: Message) -> None:
        """ASGI's."""
        if self._goodbye is not None:
            raise OSError("the WebSocket is closed")
        if self._is_over and message["type"] != "websocket.http.response.body":
            raise RuntimeError(f"{message['type']!r} after the end")
        match message["type"]:
            case "websocket.accept":
                await self._channel.send(message)
                self._is_open = True
                self._terms.hooks.websocket_opened()
                log_websocket(self.scope, None)
                return
            case "websocket.close":
                self._is_over = True
                if not self._is_open:
                    log_websocket(self.scope, 403)
            case "websocket.http.response.start":
                self._is_over = True
                log_websocket(self.scope, int(message["status"]))
                message = {**message, "headers": _headers(message) + self._terms.headers}
            case "websocket.http.response.body":
                # granian takes it in one piece.
                self._denial += message.get("body", b"")
                if message.get("more_body", False):
                    return
                message = {"type": message["type"], "body": bytes(self._denial)}
        await self._channel.send(message)

    def leave(self, code: int, reason: str) -> None:
        """Tell the client goodbye."""
        if self._is_open and self._goodbye is None:
            self._goodbye = (code, reason)
            if self._pending is not None:
                self._pending.cancel()
            self._closing = asyncio.ensure_future(self._close(code, reason))

    async def finish(self, failure: BaseException | None) -> None:
        """The application returned, or raised."""
        if failure is not None and not (self._goodbye and isinstance(failure, OSError)):
            _report(self._terms, failure)
        if self._is_open:
            self._is_open = False
            self._terms.hooks.websocket_closed()
            if self._goodbye is None and not self._is_over:
                await self._close(1000 if failure is None else 1011, "")
        elif not self._is_over and not self._terms.is_cutting:
            kind = "websocket.http.response"
            start = {"type": f"{kind}.start", "status": 500, "headers": [_TEXT]}
            await self.send(start)
            await self.send({"type": f"{kind}.body", "body": b"Internal Server Error"})
        if self._closing is not None:
            # granian's end of it may wait for a client that is gone.
            await asyncio.wait({self._closing}, timeout=FAREWELL)

    async def _close(self, code: int, reason: str) -> None:
        message = {"type": "websocket.close", "code": code, "reason": reason}
        try:
            await self._channel.send(message)
        except RuntimeError as error:
            _log.debug("a WebSocket was gone before its goodbye: %s", error)


def _headers(message: Message) -> list[tuple[bytes, bytes]]:
    return [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]


async def _message(awaitable: Awaitable[Message]) -> Message:
    return await awaitable


def _report(terms: Terms, failure: BaseException) -> None:
    if isinstance(failure, asyncio.CancelledError):
        if terms.is_cutting:
            return  # the drain reports it, with the path
    else:
        terms.hooks.app_failed()
    _log.error("Exception in ASGI application", exc_info=failure)
