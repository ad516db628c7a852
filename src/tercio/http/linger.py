"""The last second of a connection whose client may still be sending.

To close a socket that has unread bytes sends a reset, and a reset destroys what the client has not
read yet: the very answer that says what was wrong (RFC 9112, 9.6). So the end of our stream is
sent, and what still comes is read and thrown away for a while.

    sending --all is sent--> lingering --client closes | time is up--> closed
       |--client reads nothing--> closed
"""

import asyncio

from tercio.http.service import Service
from tercio.http.stalls import Stall
from tercio.http.transports import bytes_left


class Lingering(asyncio.Protocol):
    """Takes over a transport from its protocol, which has left the service."""

    __slots__ = ("_left", "_service", "_stall", "_until", "transport")

    is_websocket = False

    def __init__(self, service: Service, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._service = service
        self._left = service.limits.linger_size
        self._until: float | None = None  # what was written is not sent yet
        self._stall = Stall()
        transport.set_protocol(self)
        service.joined(self)
        try:
            if transport.can_write_eof():  # TLS has no end of one direction
                transport.write_eof()
        except OSError:  # asyncio's, for a client that is gone already
            transport.abort()
            return
        if self._left:
            transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        self._service.traffic.received += len(data)
        if self._left < 0:
            # Not closed at once: the client has the rest of the time to look at its answer.
            self.transport.pause_reading()

    def eof_received(self) -> None:
        pass  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.hooks.connection_lost()
        self._service.left(self)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def sweep(self, now: float) -> None:
        limits = self._service.limits
        if bytes_left(self.transport):
            if self._stall.is_over(now, self.transport, limits.write_timeout):
                self.transport.abort()
        elif self._until is None:
            self._until = self._service.now + limits.linger_timeout
        elif now > self._until:
            self.transport.abort()

    def abort(self) -> None:
        self.transport.abort()

    def begin_drain(self) -> None:
        pass

    def unfinished(self) -> str | None:
        return None
