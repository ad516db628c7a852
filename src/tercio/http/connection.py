"""One connection that speaks HTTP/1.1, until it ends, lingers or becomes a WebSocket.

    open --idle for long, or lets wait for long--> closed
      |---release()--> in another process' hands; there one begins with its luggage

`Reading` makes requests of its bytes and `Answering` answers them; here is what the transport, the
sweep and a drain ask of it, and what may be done to it while it is idle.
"""

import asyncio
import os
import socket
from typing import Any, Final, cast

from tercio.http import tls
from tercio.http.answering import Answering
from tercio.http.head import BadRequest
from tercio.http.luggage import Luggage
from tercio.http.request import Request
from tercio.http.service import Service
from tercio.http.stalls import Stall
from tercio.http.transports import (
    bytes_left,
    bytes_wait,
    client_of,
    descriptor_of,
    is_hung_up,
    server_of,
)

_CREDIT: Final = 6
"""Grace times after which the rate is counted anew: a fast beginning allows a rest, not a day."""


class Connection(Answering):
    """A `service.Peer`."""

    __slots__ = ("_luggage", "_stall", "is_released")

    is_websocket = False

    def __init__(self, service: Service, luggage: Luggage | None = None) -> None:
        """``luggage`` is that of a connection that another process has let go of."""
        super().__init__(service)
        self.is_released = False
        self._luggage = luggage
        self._stall: Stall | None = None  # made when bytes wait at a sweep, which is seldom

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self.service
        self.transport = cast("asyncio.Transport", transport)
        client, server = client_of(transport), server_of(transport)
        is_tls = transport.get_extra_info("sslcontext") is not None
        proxies = service.proxies
        # Who comes over a Unix socket has no address: the socket's path stands for all of them.
        # Over TCP, one without an address is gone already, and nobody knows who it was.
        is_unix = server is not None and server[1] is None
        peer = client[0] if client else str(server[0]) if server and is_unix else None
        self.is_trusted = proxies is not None and proxies.trusts(peer)
        # Copied for each request: what does not change is put together once.
        self._template = {
            "type": "http",
            "asgi": {},
            "http_version": "1.1",
            "server": server,
            "client": client,
            "scheme": "https" if is_tls else "http",
            "root_path": service.root_path,
            "extensions": _extensions(transport, service),
            # What each request has of its own, so that its copy need not grow.
            "method": "",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "headers": [],
            "state": {},
        }
        luggage = self._luggage
        if luggage is None:
            service.hooks.connection_made()
        else:
            service.hooks.connection_adopted()
        service.joined(self)
        self.since = service.now
        if service.is_cutting:
            self.abort()  # let in at the last moment: uvloop tells of it when all is over
        elif luggage is not None:
            self.since -= luggage.idle
            self.asked = luggage.asked
            if luggage.data:
                self.data_received(luggage.data)

    def eof_received(self) -> None:
        pass  # as with uvicorn, who sends no more is gone; the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._abandon()
        service = self.service
        service.hooks.connection_lost()
        service.left(self)

    def pause_writing(self) -> None:
        self.is_write_paused = True

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._writable is not None:
            self._writable.set()

    # What is done to idle connections, and to those that let wait

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered, down to the last byte."""
        return self.is_answered and not bytes_left(self.transport)

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
        was_at_rest, self.is_at_rest = self.is_at_rest, False  # first: nobody else takes it now
        kept = self._copy()
        if kept is None:
            self.is_at_rest = was_at_rest
            return None
        self.transport.pause_reading()
        self.is_released = True
        # Not close(): asyncio may shut a closing socket down, and that would reach the copy.
        self.abort()
        return kept

    def _copy(self) -> socket.socket | None:
        transport = self.transport
        if not self.is_idle or not self.claim() or transport.is_closing():
            return None
        if transport.get_extra_info("sslcontext"):
            return None
        try:
            return socket.socket(fileno=os.dup(descriptor_of(transport)))
        except OSError:  # closed already, or no descriptor is left
            return None

    def pack(self) -> Luggage:
        """What an idle connection takes along."""
        came = self._luggage
        is_untouched = came is not None and came.asked == self.asked
        return Luggage(
            idle=self.service.now - self.since,
            asked=self.asked,
            hops=came.hops if came is not None and is_untouched else 0,
        )

    @property
    def unbegun(self) -> Request | None:
        """The one request that was read, whole, and that the application has not been called for.

        For other threads; what it says holds as long as the loop is in a step of another task.
        """
        request = self.current
        if request is None or not self.came or not request.is_whole or self._waiting:
            return None
        is_all = self.is_between and not self._unread and self._upgrade is None
        return request if is_all and request.is_unbegun else None

    def pack_unbegun(self) -> Luggage:
        """What it takes along with that request."""
        came = self._luggage
        asked = self.asked - 1
        is_untouched = came is not None and came.asked == asked
        hops = came.hops + 1 if came is not None and is_untouched else 1
        return Luggage(asked=asked, hops=hops, data=self.came)

    def sweep(self, now: float) -> None:
        if self.is_released:
            return  # in other hands, and about to be buried here
        limits = self.service.limits
        transport = self.transport
        if bytes_left(transport):
            if self._stall is None:
                self._stall = Stall()
            self.since = self.service.now  # not idle before the client has the answer
            if self._stall.is_over(now, transport, limits.write_timeout):
                self.abort()
            return
        self._stall = None
        if self.current is not None and self.current.was_cancelled:
            self.current.give_up()
        elif self._waiting and self._is_reading_paused and is_hung_up(transport):
            self.abort()  # nobody reads, so nobody else would notice
        elif self.in_head:
            # Nobody else is to blame for what is not read.
            is_late = now - self.since > limits.head_timeout and not self._is_reading_paused
            if is_late and not bytes_wait(transport):
                self.refuse(BadRequest(408, "The head of the request took too long."))
        elif self.receiving is not None:
            self._judge_body(self.receiving, now)
        elif self.current is None and not self._waiting:
            patience = self._patience()
            is_over = now - self.since >= patience and not transport.is_closing()
            if is_over and self.claim() and not bytes_wait(transport):
                # A client that was promised a kept connection may send in this very moment.
                transport.close()

    def abort(self) -> None:
        if self.is_released and self.current is not None:
            self.service.traffic.received -= len(self.came)
            self.current.hand_on()
        # First of all: uvloop raises for whoever writes before it has told of the loss.
        self._abandon()
        self.transport.abort()

    def _patience(self) -> float:
        """Seconds that it may be idle."""
        limits = self.service.limits
        if self.service.is_draining:
            return self.service.quiet
        if not self.has_asked:  # with a keep-alive time of 0, too, a client gets to ask once
            return max(limits.keep_alive_timeout, limits.head_timeout)
        return limits.keep_alive_timeout

    def _judge_body(self, request: Request, now: float) -> None:
        since, had = self.mark
        limits = self.service.limits
        if self._is_reading_paused or request.expects_continue or not request.is_awaited:
            self.mark = (now, request.received)
        elif now - since > limits.body_grace:
            too_few = request.received - had < limits.body_rate * (now - since)
            if too_few and not bytes_wait(self.transport):
                self.refuse(BadRequest(408, "The body of the request came too slowly."))
            elif now - since > _CREDIT * limits.body_grace:
                self.mark = (now, request.received)

    # What a drain asks

    def begin_drain(self) -> None:
        # `is_last` and `sweep` look at the service. Who sends request after request would never be
        # without one: the last that was read becomes the last.
        if self._waiting:
            self.end_with(self._waiting[-1])

    def unfinished(self) -> str | None:
        request = self.current or self.receiving
        if request is not None:
            return str(request.scope["path"])
        if self.in_head:
            return self._url.decode("latin-1").partition("?")[0] or "(a request being read)"
        return "(an answer being sent)" if bytes_left(self.transport) else None


def _extensions(transport: asyncio.BaseTransport, service: Service) -> dict[str, dict[str, Any]]:
    extensions: dict[str, dict[str, Any]] = {
        "http.response.early_hint": {},
    }
    if service.sends_files:
        extensions["http.response.pathsend"] = {}
    if (ssl_object := transport.get_extra_info("ssl_object")) is not None:
        extensions["tls"] = tls.extension(ssl_object)
    return extensions
