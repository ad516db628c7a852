"""The answering half of a connection: one request at a time, in the order in which they came.

    idle --request--> answering --answer complete, nothing waits--> idle
                          |--last answer--> closed, or lingering while more of a request may come

What else was read waits in order, up to a number at which no more is read. A refusal is an answer
like others, and the last one.
"""

import asyncio
from collections import deque
from typing import Any, Final

from tercio.http.head import BadRequest
from tercio.http.linger import Lingering
from tercio.http.reading import Reading
from tercio.http.request import Request
from tercio.http.response import BODY, DONE, Response, plain
from tercio.http.service import Service
from tercio.http.transports import bytes_wait
from tercio.http.websocket import WebSocket

_Waiting = Request | BadRequest | tuple[dict[str, Any], bytes]
"""A request, a refusal, or a WebSocket's scope with the bytes behind its head."""

_AHEAD: Final = 32
"""Requests that may wait for the answer to another one before reading stops."""

_MOST: Final = 512
"""Requests that may wait at all: behind a body they come in whatever number a read brings."""

_TOO_BUSY: Final = b"Service Unavailable"


class Answering(Reading):
    """Everything happens in the loop."""

    __slots__ = (
        "_is_reading_paused",
        "_is_refused",
        "_waiting",
        "_writable",
        "current",
        "is_lost",
        "is_write_paused",
    )

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.current: Request | None = None  # the one that is being answered
        self.is_lost = False
        self.is_write_paused = False
        self._is_refused = False
        self._waiting: deque[_Waiting] = _NOTHING
        self._is_reading_paused = False
        self._writable: asyncio.Event | None = None

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
        if len(self._waiting) >= _MOST or self.service.is_draining:
            self.end_with(item)

    def end_with(self, item: _Waiting) -> None:
        """Take nothing that comes behind: the client has to ask again, elsewhere."""
        if isinstance(item, Request):
            item.keep_alive = False
            self._is_refused = True  # who sends that much may be sending still
            if item is not self.receiving:
                self.reads_on = False

    @property
    def is_ahead(self) -> bool:
        return len(self._waiting) >= _AHEAD

    def is_last(self, response: Response) -> bool:
        """Whether this answer is to be the last, for a reason of the connection's own."""
        receiving = self.receiving
        if receiving is not None and receiving is response:
            # It is answered before it was read. What is left is read and thrown away if it is not
            # too much; a client that waits for its 100 may send it or not, nobody knows.
            left = (receiving.length or 0) - receiving.received
            if receiving.expects_continue or left > self.service.limits.linger_size:
                return True
        if self.service.keeps_none:
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
        self.came = b""  # there was more in it
        item = self._waiting.popleft()
        match item:
            case Request():
                self._start(item)
                self.go_on()
                self.resume_reading()
            case BadRequest():
                self._say_no(item)
            case (scope, rest):
                self._become_websocket(scope, rest)

    def _say_no(self, reason: BadRequest) -> None:
        text = reason.text.encode("ascii", "replace")
        data = plain(self.service.head_lines, reason.status, text)
        self.service.traffic.sent += len(data)
        self.service.hooks.request_refused(reason.status)
        self.transport.write(data)
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
        if self.is_write_paused:
            websocket.pause_writing()  # the transport has told it to us, and will not again
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
            and not self._unread
            and self._upgrade is None  # what comes then is no HTTP
            and not self.transport.is_closing()
        ):
            self._is_reading_paused = False
            self.transport.resume_reading()
            if self.in_head:
                self.since = self.service.now
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

    def rest(self) -> None:
        self.since = self.service.now
        self.came = b""
        if self.service.watch is not None and self.is_answered:
            self.service.watch.connection_idle(self)
        # Last of all, for it is true for other threads at once. An answer may end inside of another
        # one's, where tasks begin at once, and what was kept back is then still to be read.
        self.is_at_rest = self.reads_on and not self._waiting and not self._unread

    @property
    def is_answered(self) -> bool:
        return self.current is None and not self._waiting and self.is_between and self.reads_on


_NOTHING: Final[deque[_Waiting]] = deque(maxlen=0)
"""The queue of all connections that have none."""


def _for_websocket(scope: dict[str, Any]) -> dict[str, Any]:
    scope["type"] = "websocket"
    scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
    # A proxy's word may have set it already.
    scope["scheme"] = {"http": "ws", "https": "wss"}.get(scope["scheme"], scope["scheme"])
    return scope
