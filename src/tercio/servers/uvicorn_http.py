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
from typing import Any, cast

from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tercio.servers.uvicorn_state import State


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
        super().connection_made(transport)
        self.shared.hooks.connection_made()
        if self.shared.is_draining:
            self.begin_drain()

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
        if not self.shared.is_fresh:
            self.shared.refresh()
        HttpToolsProtocol.on_message_begin(self)

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


def bytes_wait(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    answer = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
    return bool(struct.unpack("i", answer)[0])
