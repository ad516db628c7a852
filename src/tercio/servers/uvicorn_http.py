"""uvicorn's HTTP protocol with counts, and with a drain that loses no request.

uvicorn closes idle connections the moment it is told to leave, also those whose next request is
already under way (uvicorn#2757). Here a leaving worker first announces it: every answer carries
``Connection: close``, and a connection is closed only after it was quiet for a while.
"""

import asyncio
import fcntl
import struct
import termios
import time
from collections.abc import Coroutine
from typing import Any, Final, cast

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from tercio.servers.uvicorn_state import State
from tercio.servers.uvicorn_transport import CountedTransport

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a request's head. The parser itself has no limit, and would take all memory."""

_NO_HEAD: Final = -1


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    protocol: "HttpProtocol"
    begun: float
    status: int

    # Not async: a coroutine of its own would cost a frame for every message.
    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        if not self.response_started and message["type"] == "http.response.start":
            self.status = message["status"]
            if self.protocol.is_draining and self.protocol.is_last(self):
                self.keep_alive = False
        return RequestResponseCycle.send(self, message)


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it closes or becomes a WebSocket.

    What is called for each request names its base: ``super()`` costs 60 ns a call in Python 3.11.
    """

    is_websocket = False

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.shared = server_state
        self.answering: Cycle | None = None
        self.is_receiving = False  # a request has begun and has not been read to its end
        self._head = _NO_HEAD  # bytes read of a head that is not complete, as far as known
        self._chunk = 0  # bytes that are being parsed
        self._first = 0  # the same, if a head begins with them

    @property
    def is_draining(self) -> bool:
        return self.shared.is_draining

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered."""
        return not self.is_receiving and (self.cycle is None or self.cycle.response_complete)

    def is_last(self, cycle: Cycle) -> bool:
        """Whether no further request is known on this connection.

        Closing after an answer while the rest of its request, or another one, still arrives would
        have the kernel send a reset, and a reset destroys the answer on its way.
        """
        return cycle is self.cycle and not self.is_receiving and not bytes_wait(self.transport)

    def begin_drain(self) -> None:
        """From now on close when quiet: uvicorn's own keep-alive timer does it."""
        self.timeout_keep_alive = cast("int", self.shared.quiet)  # float in truth: call_later's
        if self.is_idle:
            self._close_when_quiet()

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()

    def unfinished(self) -> str | None:
        """The path of what an end now would cut; None if that is nothing."""
        if self.is_idle and not self.transport.get_write_buffer_size():
            return None
        is_new = self.cycle is None or (self.is_receiving and self.cycle.response_complete)
        if is_new:  # its head has not been read to the end
            return self.url.decode("latin-1").partition("?")[0] or "(a request being read)"
        return str(self.cycle.scope["path"])

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        counted = CountedTransport(transport, self.shared)
        super().connection_made(cast("asyncio.Transport", counted))
        self.shared.hooks.connection_made()
        if self.shared.is_draining:
            self.begin_drain()

    def data_received(self, data: bytes) -> None:
        self._chunk = len(data)
        shared = self.shared
        shared.traffic.received += self._chunk
        if not shared.is_fresh:
            shared.refresh()
        self._first = 0 if self.is_receiving else self._chunk
        if self._head >= 0:
            if self._head > HEAD_LIMIT:
                return  # refused, and open only because an answer is still on its way
            self._head += self._chunk
        HttpToolsProtocol.data_received(self, data)
        # Still in the head: nothing of what was counted is anything else.
        if self._head > HEAD_LIMIT:
            self.logger.warning("The head of a request is too long.")
            self._refuse_head()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn 0.54 keeps the timer, and with it all of this, when the client reset.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._end_answer()
        self.pipeline.clear()
        self.cycle = cast("Any", None)  # else the two keep each other until the next collection
        self.shared.connection_left()

    # What the parser calls

    def on_message_begin(self) -> None:
        self.is_receiving = True
        # Where it begins in the middle of a chunk, nobody says how far: what came there is not
        # counted, only bounded by the transport's reads of 256 KiB.
        self._head = self._first
        self._first = 0
        HttpToolsProtocol.on_message_begin(self)

    def on_headers_complete(self) -> None:
        # A head that came with other bytes is measured, which is dear, only if it may be too long.
        if self._head + self._chunk > HEAD_LIMIT and self._size_of_head() > HEAD_LIMIT:
            self._head = HEAD_LIMIT + 1
            raise _HeadTooLong  # ends the parser; uvicorn calls `send_400_response`
        self._head = _NO_HEAD
        HttpToolsProtocol.on_headers_complete(self)

    def on_message_complete(self) -> None:
        self.is_receiving = False
        HttpToolsProtocol.on_message_complete(self)
        if self.shared.is_draining and self.is_idle:
            self._close_when_quiet()  # answered before it was read to its end

    # What uvicorn's protocol calls

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn makes the cycle itself. Another class on a finished object costs 40 ns; a wrapper
        # around `send` would cost a call for every message.
        cycle.__class__ = Cycle
        ours: Any = cycle
        ours.logger = self.shared.error_log
        ours.protocol = self
        ours.status = 0
        ours.begun = time.monotonic()  # not loop.time(): uvloop's has whole milliseconds
        self.answering = ours
        self.shared.hooks.request_begun()
        HttpToolsProtocol._start_asgi_task(self, cycle, app)

    def on_response_complete(self) -> None:
        self._end_answer()
        HttpToolsProtocol.on_response_complete(self)

    def send_400_response(self, msg: str) -> None:
        if self._head > HEAD_LIMIT:
            self._refuse_head()
        else:
            self._refuse(400, msg)

    def _refuse_head(self) -> None:
        self.is_receiving = False
        self._refuse(431, f"The head of the request is longer than {HEAD_LIMIT} bytes.")

    def _refuse(self, status: int, text: str) -> None:
        """Answer and close, or close after the answer that is on its way: never two in one."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False  # the last that is known: what was refused has none
                return
            # The body of this very request is broken: nobody will bring the rest of it.
            self.is_receiving = False
            if self.pipeline:
                self.pipeline.popleft()  # not begun yet; the answers before it end first
                last = self.pipeline[0][0] if self.pipeline else self.answering
                if last is not None:
                    last.keep_alive = False
                    self.cycle = last
                    return
            if cycle.response_started:
                self.transport.close()  # the application gets its disconnect
                return
        lines = [
            STATUS_LINE[status],
            *(b"%b: %b\r\n" % header for header in self.server_state.default_headers),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(text),
            b"connection: close\r\n\r\n",
            text.encode("ascii"),
        ]
        self.transport.write(b"".join(lines))
        self.transport.close()

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.is_closing():
            return
        if bytes_wait(self.transport):
            # libuv runs timers before it reads: after a blocked loop the next request may wait.
            self._close_when_quiet()
        elif not (self.is_receiving and self.shared.is_draining):
            self.transport.close()

    def _close_when_quiet(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _end_answer(self) -> None:
        if (cycle := self.answering) is not None:
            self.answering = None
            self.shared.hooks.request_ended(cycle.status, time.monotonic() - cycle.begun)


class _HeadTooLong(Exception):
    """Raised through the parser."""


def bytes_wait(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    answer = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
    return bool(struct.unpack("i", answer)[0])
