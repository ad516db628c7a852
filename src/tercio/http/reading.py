"""The reading half of a connection: bytes come, and the parser gets as many as it is time for.

`Parsing` makes requests of them. An exception in one of its methods ends the parser, and what was
being read is refused. After the last request, refused or not, nothing that comes is interpreted.
"""

from abc import abstractmethod
from typing import Any, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade

from tercio.http.head import BadRequest
from tercio.http.parsing import Parsing
from tercio.http.request import Request
from tercio.http.service import Service

_SLICE: Final = 4096
"""Bytes that may hold some 160 requests."""

_CHUNK_COST: Final = 16
"""Bytes of chunk sizes and extensions that each byte of a body may cost, beyond a head's limit."""


class Reading(Parsing):
    """Fields that begin with an underscore belong to the half that declares them, and to this."""

    __slots__ = ("_unread", "came")

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._unread = b""  # bytes behind the requests that wait
        self.came = b""
        """What was read of a connection at rest, all that is known of the request under way: with
        it, another process can begin that one anew. Empty if there is more, or was."""

    @abstractmethod
    def upgrade(self, scope: dict[str, Any], rest: bytes) -> None:
        """A WebSocket begins; ``rest`` came behind its head."""

    @abstractmethod
    def refuse(self, reason: BadRequest) -> None:
        """Answer no, when it is its turn, and close."""

    @property
    @abstractmethod
    def is_ahead(self) -> bool:
        """Whether enough requests wait: what else came is to be kept as it is."""

    @property
    def has_asked(self) -> bool:
        """Whether any request has begun."""
        return self.asked > 0

    @property
    def is_between(self) -> bool:
        """Whether no request has begun that has not been read to its end."""
        return self.receiving is None and not self.in_head

    def data_received(self, data: bytes) -> None:
        if not self.reads_on:
            self.service.traffic.received += len(data)
            return
        size = len(data)
        if size <= _SLICE or self.receiving is not None:
            self.came = data if self.is_at_rest else b""
            read = self._read(data)
            if read == size and self._upgrade is None:
                return
        else:
            self.came = b""
            read = 0
        # Seldom: what may hold many requests is read a slice at a time, up to where enough of them
        # wait. Else a read of the transport would become thousands of requests at once.
        view = memoryview(data)[read:]
        while view and self.reads_on:
            if self.is_ahead:
                self._unread = bytes(view)
                return
            view = view[self._read(view[:_SLICE]) :]
        if self._upgrade is not None:
            self.upgrade(self._upgrade, bytes(view))

    def go_on(self) -> None:
        """Read what was kept back, if fewer requests wait now."""
        if self._unread and not self.is_ahead:
            unread, self._unread = self._unread, b""
            self.data_received(unread)

    def _read(self, data: bytes | memoryview) -> int:
        """Read as much as the parser takes at once: all, or up to an upgrade."""
        size = self._chunk = len(data)
        self.service.traffic.received += size
        if self.in_head:
            self._head_size += size
        elif self.receiving is None:
            self._begins = True
        else:
            self._framing += size
        upgrade_at = None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as pause:
            upgrade_at = pause.args[0]
        except HttpParserError as error:
            if self.reads_on:
                self.refuse(_reason(error, self.service))
        if upgrade_at is not None:
            self.service.traffic.received -= size - upgrade_at  # they are the WebSocket's
            if self.reads_on:  # the answer may have been the last already
                self._leave_http()
            return int(upgrade_at)
        if self.in_head:
            if self._head_size - self._foreign > self.service.limits.head:
                self.refuse(self._too_long())
        elif self._framing > self.service.limits.head and self.receiving is not None:
            self._check_framing(self.receiving)
        return size

    def _check_framing(self, request: Request) -> None:
        # `_framing` counts all that came since the head; what is no content is sizes, extensions
        # and trailers. Tiny chunks are legal, mountains of extensions on them are an attack.
        excess = self._framing - request.received
        if excess > self.service.limits.head + _CHUNK_COST * request.received:
            self.refuse(BadRequest(431, "The chunks of the request say too much."))

    def forget(self) -> None:
        """The connection is over: the parser holds our methods, and we hold it."""
        self.reads_on = False
        self.in_head = False
        self.receiving = None
        self._unread = self.came = b""
        self._upgrade = None
        self._parser = None


def _reason(error: HttpParserError, service: Service) -> BadRequest:
    match error:
        case HttpParserCallbackError():
            if isinstance(error.__context__, BadRequest):
                return error.__context__
            service.log.error("a request could not be read", exc_info=error)
            return BadRequest(400, "Invalid HTTP request received.")
        case _:
            return BadRequest(400, "Invalid HTTP request received.")
