"""One connection that speaks HTTP/1.1, until it ends, lingers or becomes a WebSocket.

Two machines run side by side: `Reading` makes requests of bytes, and here they are answered.

    idle --request--> answering --answer complete, nothing waits--> idle
                          |--last answer--> closed, or lingering while more of a request may come

One request is answered at a time. What else was read waits in order, up to a number at which no
more is read.
"""

import asyncio
import os
import socket
from collections import deque
from typing import Any, Final, cast

from tercio.http import tls
from tercio.http.head import BadRequest
from tercio.http.linger import Lingering
from tercio.http.reading import Reading
from tercio.http.request import Request
from tercio.http.response import BODY, DONE, Response, plain
from tercio.http.service import Service
from tercio.http.stalls import Stall
from tercio.http.transports import bytes_wait, client_of, descriptor_of, is_hung_up, server_of
from tercio.http.websocket import WebSocket

_Waiting = Request | BadRequest | tuple[dict[str, Any], bytes]
"""A request, a refusal, or a WebSocket's scope with the bytes behind its head."""

_AHEAD: Final = 32
"""Requests that may wait for the answer to another one before reading stops."""

_TOO_BUSY: Final = b"Service Unavailable"


class Connection(Reading):
    """See above. Everything happens in the loop."""

    __slots__ = (
        "_is_reading_paused",
        "_is_refused",
        "_stall",
        "_waiting",
        "_writable",
        "current",
        "is_lost",
        "is_released",
        "is_write_paused",
    )

    is_websocket = False

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.current: Request | None = None  # the one that is being answered
        self.is_lost = False
        self.is_released = False
        self.is_write_paused = False
        self._is_refused = False
        self._waiting: deque[_Waiting] = _NOTHING
        self._is_reading_paused = False
        self._writable: asyncio.Event | None = None
        self._stall: Stall | None = None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self.service
        self.transport = cast("asyncio.Transport", transport)
        client, server = client_of(transport), server_of(transport)
        is_tls = transport.get_extra_info("sslcontext") is not None
        proxies = service.proxies
        # Who comes over a Unix socket has no address: the socket's path stands for all of them.
        peer = client[0] if client else str(server[0]) if server else None
        self.is_trusted = proxies is not None and proxies.trusts(peer)
        # Copied for each request: what does not change is put together once.
        self._template = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": server,
            "client": client,
            "scheme": "https" if is_tls else "http",
            "root_path": service.root_path,
            "extensions": _extensions(transport),
            # What each request has of its own, so that its copy need not grow.
            "method": "",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "headers": [],
            "state": {},
        }
        service.hooks.connection_made()
        service.joined(self)
        self.since = service.now

    def eof_received(self) -> None:
        pass  # as with uvicorn, who sends no more is gone; the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._abandon()
        service = self.service
        service.hooks.connection_lost()
        service.left(self)

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self._stall = Stall(self.service.now, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._writable is not None:
            self._writable.set()

    # What reading finds

    def accept(self, request: Request) -> None:
        if self.current is None and not self._waiting:
            self._start(request)
        else:
            self._wait(request)

    def upgrade(self, scope: dict[str, Any], rest: bytes) -> None:
        if self.current is None and not self._waiting:
            self._become_websocket(scope, rest)
        else:
            self._wait((scope, rest))

    def refuse(self, reason: BadRequest) -> None:
        if not self.reads_on:
            return
        self.reads_on = False
        broken, self.receiving = self.receiving, None
        self.in_head = False
        self._is_refused = True
        self.service.log.warning("%s", reason.text)
        if broken is not None and broken is self.current:
            # Nobody will bring the rest of its body.
            if broken.stage < BODY:
                broken.answer(reason.status, reason.text.encode("ascii", "replace"))
                broken.is_gone = True
            else:
                broken.lose()
                self.close()
        elif broken is not None and broken.stage == DONE:
            self.close()
        else:
            if broken is not None:
                self._waiting.pop()
            if self.current is None and not self._waiting:
                self._say_no(reason)
            else:
                self._wait(reason)

    # Answering

    def _start(self, request: Request) -> None:
        self.current = request
        if self.service.limits.concurrency is not None and self.service.is_crowded:
            self.service.log.warning("Exceeded concurrency limit.")
            request.reject(503, _TOO_BUSY)
        else:
            request.start()

    def _wait(self, item: _Waiting) -> None:
        if self._waiting is _NOTHING:
            self._waiting = deque()  # few clients send requests ahead: made when one does
        self._waiting.append(item)
        # Read on while they are few: nobody would notice that the client is gone.
        if len(self._waiting) >= _AHEAD or self._upgrade is not None:
            self.pause_reading()

    def is_last(self, response: Response) -> bool:
        """Whether this answer is to be the last, for a reason of the connection's own."""
        receiving = self.receiving
        if receiving is not None and receiving is response:
            # It is answered before it was read. What is left is read and thrown away if it is not
            # too much; a client that waits for its 100 may send it or not, nobody knows.
            left = (receiving.length or 0) - receiving.received
            if receiving.expects_continue or left > self.service.limits.linger_size:
                return True
        # Closing while another request arrives would have the kernel send a reset, and a reset
        # destroys the answer on its way.
        return (
            self.service.is_draining
            and not self._waiting
            and self.is_between
            and not bytes_wait(self.transport)
        )

    def finished(self, request: Response) -> None:
        """The answer is complete."""
        self.current = None
        if not request.keep_alive:
            self.close()
        elif self._waiting:
            self._next()
        else:
            if self._is_reading_paused:
                self.resume_reading()
            if self.receiving is None and not self.in_head:
                self.rest()

    def _next(self) -> None:
        item = self._waiting.popleft()
        match item:
            case Request():
                self._start(item)
                self.resume_reading()
            case BadRequest():
                self._say_no(item)
            case (scope, rest):
                self._become_websocket(scope, rest)

    def _say_no(self, reason: BadRequest) -> None:
        text = reason.text.encode("ascii", "replace")
        self.transport.write(plain(self.service.head_lines, reason.status, text))
        self.close()

    def _become_websocket(self, scope: dict[str, Any], rest: bytes) -> None:
        websocket = WebSocket(self.service, self.transport, _for_websocket(scope))
        if self.service.watch is not None:
            self.service.watch.connection_upgraded(self)
        self.service.left(self)
        self.forget()
        self.is_lost = True
        if self._is_reading_paused:
            self.transport.resume_reading()
        self.transport.set_protocol(websocket)
        websocket.begin(rest)

    # Pressure

    def pause_reading(self) -> None:
        """Read nothing until somebody has use for it."""
        if not self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The application took a part of the body, or a request its turn."""
        receiving = self.receiving
        if (
            self._is_reading_paused
            and len(self._waiting) < _AHEAD
            and (receiving is None or receiving.has_room)
            and self._upgrade is None  # what comes then is no HTTP
            and not self.transport.is_closing()
        ):
            self._is_reading_paused = False
            self.transport.resume_reading()
            if receiving is not None:
                self.mark = (self.service.now, receiving.received)

    async def until_writable(self) -> None:
        """Wait until the client has read enough, or is gone."""
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()
        if self.is_write_paused and not self.is_lost:
            await self._writable.wait()

    def throw_away(self, size: int) -> None:
        """Bytes of a body whose answer is complete came."""
        if size > self.service.limits.linger_size:
            self.close()

    # The end

    def close(self) -> None:
        """Close when what was written has been sent, so that it also arrives."""
        transport = self.transport
        if self.is_lost or transport.is_closing():
            return
        may_send = self._is_refused or not self.is_between or bytes_wait(transport)
        self.reads_on = False
        if may_send:
            self._abandon()
            self.service.left(self)
            Lingering(self.service, transport)
        else:
            transport.close()

    def _abandon(self) -> None:
        """Nobody is there any more to answer."""
        self.is_lost = True
        for request in (self.current, self.receiving, *self._waiting):
            if isinstance(request, Request):
                request.lose()
        self.current = None
        self._waiting = _NOTHING
        self.forget()
        self.resume_writing()

    # What is done to idle connections, and to those that let wait

    def rest(self) -> None:
        self.since = self.service.now
        if self.service.watch is not None and self.is_answered:
            self.service.watch.connection_idle(self)

    @property
    def is_answered(self) -> bool:
        return self.current is None and not self._waiting and self.is_between and self.reads_on

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered, down to the last byte."""
        return self.is_answered and not self.transport.get_write_buffer_size()

    def claim(self) -> bool:
        """Whether the loop may touch this idle connection.

        Whatever does something to a connection that nobody asks anything of comes through here: the
        one place where another owner of the descriptor can be respected.
        """
        return not self.is_released and not self.is_lost

    def release(self) -> socket.socket | None:
        """Take an idle connection out of the loop, with its descriptor intact.

        What the client sends from now on waits in the kernel for whoever adopts it. None if it is
        not idle, or has state that cannot move (TLS).
        """
        transport = self.transport
        if not self.is_idle or not self.claim() or transport.get_extra_info("sslcontext"):
            return None
        transport.pause_reading()
        kept = socket.socket(fileno=os.dup(descriptor_of(transport)))
        self.is_released = True
        # Not close(): asyncio may shut a closing socket down, and that would reach the copy.
        transport.abort()
        return kept

    def sweep(self, now: float) -> None:
        """Judge who lets wait: see `service.Peer`."""
        limits = self.service.limits
        if self.is_write_paused:
            stall = self._stall
            if stall is not None and stall.is_over(
                now, self.transport.get_write_buffer_size(), limits.write_timeout
            ):
                self.transport.abort()
        elif self.in_head:
            if now - self.since > limits.head_timeout and not bytes_wait(self.transport):
                self.refuse(BadRequest(408, "The head of the request took too long."))
        elif self.receiving is not None:
            self._judge_body(self.receiving, now)
        elif self._waiting:
            if self._is_reading_paused and is_hung_up(self.transport):
                self.transport.abort()  # nobody reads, so nobody else would notice
        elif self.current is None:
            draining = self.service.is_draining
            patience = self.service.quiet if draining else limits.keep_alive_timeout
            if now - self.since >= patience and self.claim() and not bytes_wait(self.transport):
                # A client that was promised a kept connection may send in this very moment.
                self.transport.close()

    def _judge_body(self, request: Request, now: float) -> None:
        since, had = self.mark
        limits = self.service.limits
        if self._is_reading_paused or request.expects_continue:
            self.mark = (now, request.received)
        elif (
            now - since > limits.body_grace
            and request.received - had < limits.body_rate * (now - since)
            and not bytes_wait(self.transport)
        ):
            self.refuse(BadRequest(408, "The body of the request came too slowly."))

    # What a drain asks

    def begin_drain(self) -> None:
        """Nothing to do: `is_last` and `sweep` look at the service."""

    def unfinished(self) -> str | None:
        request = self.current or self.receiving
        if request is not None:
            return str(request.scope["path"])
        if self.in_head:
            return self._url.decode("latin-1").partition("?")[0] or "(a request being read)"
        return "(an answer being sent)" if self.transport.get_write_buffer_size() else None


_NOTHING: Final[deque[_Waiting]] = deque(maxlen=0)
"""The queue of all connections that have none."""


def _extensions(transport: asyncio.BaseTransport) -> dict[str, dict[str, Any]]:
    extensions: dict[str, dict[str, Any]] = {"http.response.early_hint": {}}
    if (ssl_object := transport.get_extra_info("ssl_object")) is not None:
        extensions["tls"] = tls.extension(ssl_object)
    return extensions


def _for_websocket(scope: dict[str, Any]) -> dict[str, Any]:
    scope["type"] = "websocket"
    scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
    # A proxy's word may have set it already.
    scope["scheme"] = {"http": "ws", "https": "wss"}.get(scope["scheme"], scope["scheme"])
    return scope
