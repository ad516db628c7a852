"""Make requests of what llhttp finds in the bytes of a connection.

    idle --first byte--> head --blank line--> body --last byte--> idle

A request that is refused is a `BadRequest`, raised through the parser. What llhttp leaves open is
decided here: how much a request may be, and what it may say.
"""

import asyncio
from abc import abstractmethod
from typing import Any, Final

from httptools import HttpRequestParser

from tercio.http import head
from tercio.http.head import BadRequest
from tercio.http.request import Request
from tercio.http.response import DONE
from tercio.http.service import Service

_BLANK: Final = 33  # a byte below is a space or a tab: llhttp has refused the others

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}

_BODY_FIELDS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Parsing(asyncio.Protocol):
    """What llhttp calls. Fields that begin with an underscore belong to it and to `Reading`."""

    __slots__ = (
        "_begins",
        "_chunk",
        "_foreign",
        "_framing",
        "_head_size",
        "_headers",
        "_parser",
        "_special",
        "_template",
        "_trailers",
        "_upgrade",
        "_url",
        "asked",
        "in_head",
        "is_at_rest",
        "is_trusted",
        "mark",
        "reads_on",
        "receiving",
        "service",
        "since",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self.service = service
        self.receiving: Request | None = None  # the one whose body has not come to its end
        self.reads_on = True  # what comes belongs to a request, and not to what follows the last
        self.since = 0.0  # when it became idle, or the head began: the service's `now`
        self.mark = (0.0, 0)  # when the body's rate was first looked at, and what had come
        self.is_trusted = False  # the peer is a proxy whose word is taken
        self._template: dict[str, Any] = {}  # of a scope: what all requests have in common
        self.asked = 0
        """Requests that have begun. As long as it stays the same, an idle connection stays so."""
        self.in_head = False
        """A head has begun that is not complete."""
        self.is_at_rest = True
        """Another thread may take it out of the loop, if the loop is busy elsewhere."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special = 0  # bits of head.SPECIAL
        self._upgrade: dict[str, Any] | None = None  # the scope of one that leaves HTTP
        self._chunk = 0  # bytes that are being parsed
        self._begins = False  # a head would begin with them
        self._head_size = 0  # bytes in which the last head came
        self._foreign = 0  # those of them that may be of something else
        self._framing = 0  # bytes of a chunked body that are none of its content
        self._trailers = (0, 0)  # their number and size
        self._parser: Any = HttpRequestParser(self)

    @abstractmethod
    def accept(self, request: Request) -> None:
        """A head is complete: answer the request when it is its turn."""

    @abstractmethod
    def close(self) -> None:
        """Close when what was written has been sent."""

    @abstractmethod
    def rest(self) -> None:
        """Nothing is left to be read or answered."""

    @property
    @abstractmethod
    def is_answered(self) -> bool:
        """Whether nothing was asked that is not answered."""

    # What llhttp calls

    def on_message_begin(self) -> None:
        if not self.reads_on:
            raise _Over
        if self.service.watch is not None and self.is_answered:
            self.service.watch.connection_busy(self)
        self.in_head = True
        self.is_at_rest = False
        self.asked += 1
        self.since = self.service.now
        self._special = 0
        # Where it begins in the middle of a chunk, nobody says how far.
        self._head_size = self._chunk
        self._foreign = 0 if self._begins else self._chunk
        self._begins = False

    def on_url(self, part: bytes) -> None:
        url = self._url = self._url + part if self._url else part
        if len(url) > self.service.limits.request_line:
            raise BadRequest(414, "The request's target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        known = head.names.get(name)
        lower, bit = head.learn(name) if known is None else known
        if value and value[-1] < _BLANK:
            value = value.rstrip(b" \t")  # llhttp strips what stands before a value
        if not self.in_head:
            self._note_trailer(lower, value)
            return
        if bit:
            if bit == head.HOST:
                if self._special & bit:
                    raise BadRequest(400, "A request names its host once.")
                if value not in head.hosts:
                    head.check_host(value)
            self._special |= bit
        self._headers.append((lower, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self._upgrade is not None:
            self._skip_head()
            return
        service = self.service
        limits = service.limits
        headers = self._headers
        # A head that came with other bytes is measured, which is dear, only if it may be too long.
        if self._head_size > limits.head and self._size_of_head() > limits.head:
            raise self._too_long()
        if len(headers) > limits.fields:
            raise BadRequest(431, f"The request has more than {limits.fields} header fields.")
        parser = self._parser
        special = self._special
        keep_alive = parser.should_keep_alive()
        # Asking costs as much as a header. llhttp keeps no 1.0 connection that does not ask for it,
        # and takes all other versions for 1.0 here.
        version = "1.1"
        if not keep_alive or special & head.CONNECTION:
            version = parser.get_http_version()
            keep_alive = keep_alive and version == "1.1"
        method = head.METHODS.get(parser.get_method())
        if method is None:
            raise BadRequest(501, "The method is not known here.")
        scope = self._template.copy()
        scope["method"] = method
        url = self._url
        known = head.targets.get(url)
        path, raw, query = head.split_target(url, method) if known is None else known
        root = service.root_path
        if root:
            path = root + path
            raw = root.encode("ascii") + raw
        scope["path"] = path
        scope["raw_path"] = raw
        scope["query_string"] = query
        scope["headers"] = headers
        scope["state"] = service.state.copy()
        # What an application writes into these is not for the next request of a proxy's connection.
        scope["asgi"] = _ASGI.copy()
        scope["extensions"] = scope["extensions"].copy()
        self._url = b""
        self._headers = []
        expects_continue = False
        if version != "1.1" or special & ~head.CONNECTION != head.HOST:
            # Seldom: all that most requests have is one Host, and perhaps a length.
            head.check_version(version)
            scope["http_version"] = version
            has_host = special & head.HOST != 0
            expects_continue, protocol = head.check(version, headers, has_host=has_host)
            if self.is_trusted and service.proxies is not None:
                service.proxies.apply(scope)
            if parser.should_upgrade():
                self._upgrade = scope
                if protocol == b"websocket" and method == "GET":
                    if any(name in _BODY_FIELDS and value != b"0" for name, value in headers):
                        raise BadRequest(400, "What follows an upgrade is no body.")
                    return
        request = Request(self, scope, keep_alive)  # type: ignore[arg-type]  # a Connection
        if expects_continue:
            request.expects_continue = True
        self.receiving = request
        self._framing = 0
        self._trailers = (0, 0)
        self.mark = (service.now, 0)
        self.accept(request)

    def on_body(self, data: bytes) -> None:
        request = self.receiving
        if request is not None:
            request.expects_continue = False  # it comes without one
            request.feed(data)

    def on_message_complete(self) -> None:
        request = self.receiving
        if request is None or self._upgrade is not None:
            return
        self.receiving = None
        if not request.keep_alive:
            self.reads_on = False  # what follows the last request is none
        request.end_body()
        if request.stage == DONE:  # answered before it was read to its end
            if request.keep_alive:
                self.rest()
            else:
                self.close()

    # An upgrade

    def _leave_http(self) -> None:
        """Read no more, or go on with HTTP all the same."""
        scope = self._upgrade
        assert scope is not None
        request = self.receiving
        if request is None:
            self.reads_on = False  # what follows is no HTTP
            return
        # Served as if it had not asked for another protocol, which is what RFC 9110, 7.8, allows.
        # llhttp takes such a request for one without a body; where there is one, another parser
        # takes over, and is told how it is framed.
        self._upgrade = None
        length = request.length
        if length or any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            framing = b"Transfer-Encoding: chunked"
            if length is not None:
                framing = b"Content-Length: %d" % length
            self._parser = HttpRequestParser(self)
            self._upgrade = scope
            self._parser.feed_data(b"POST / HTTP/1.1\r\nHost:\r\n%b\r\n\r\n" % framing)
        else:
            self.on_message_complete()

    def _skip_head(self) -> None:
        """The head that `_leave_http` made up is read."""
        self._upgrade = None
        self._url = b""
        self._headers = []

    # Bounds

    def _size_of_head(self) -> int:
        line = len(self._url) + 16  # with a method, a version and the ends of lines
        return line + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _too_long(self) -> BadRequest:
        limit = self.service.limits.head
        return BadRequest(431, f"The head of the request is longer than {limit} bytes.")

    def _note_trailer(self, name: bytes, value: bytes) -> None:
        """Trailers are thrown away: nobody said which of them may be believed."""
        limits = self.service.limits
        number, size = self._trailers
        self._trailers = number, size = number + 1, size + len(name) + len(value) + 4
        if number > limits.fields or size > limits.head:
            raise BadRequest(431, "The trailers of the request are too long.")
        if name == b"connection" and self.receiving is not None:
            self.receiving.keep_alive = False  # llhttp obeys it, and would refuse what follows


class _Over(Exception):
    """Raised through the parser: the last request was read."""
