"""The answer to one request: from ASGI messages to bytes.

    START --http.response.start--> HEAD --first body--> BODY --last body--> DONE

A head is held until the first part of the body, or until the end of this turn of the loop, so that
a simple answer is one write and one packet. What an application gets wrong raises RuntimeError in
it, before anything of the message is written.
"""

from abc import abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tercio.http.asgi import Message, Scope
from tercio.http.files import send_file
from tercio.http.kept import keep

if TYPE_CHECKING:
    from tercio.http.connection import Connection

START: Final = 0
HEAD: Final = 1
BODY: Final = 2
DONE: Final = 3

_LARGE: Final = 16 * 1024
"""Bytes from which on a second buffer is cheaper than a copy."""

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # RFC 9110, 5.6.2

# Everything below a space but the tab, and DEL: what uvicorn refuses in a value, too.
_CONTROLS: Final = bytes(number for number in (*range(32), 127) if number != 9)

_CLOSE: Final = b"connection: close\r\n\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_CRLF: Final = b"\r\n"


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}

# Lines that were checked and put together before: applications send the same few over and over, and
# looking one up costs a quarter of making it.
_lines: dict[tuple[bytes, bytes], bytes] = {}
_lengths: dict[tuple[bytes, bytes], tuple[bytes, int]] = {}


def prefix(name: bytes) -> bytes:
    """``b"content-type: "``. Raises RuntimeError for what is no name of a header."""
    lower = bytes(name).lower()
    if not lower or lower.translate(None, _TOKEN):
        raise RuntimeError(f"{name!r} is no name of an HTTP header")
    return lower + b": "


def line(name: bytes, value: bytes) -> bytes:
    """``b"content-type: text/plain\\r\\n"``. Raises RuntimeError for what would break the head."""
    start = prefix(name)
    if value.translate(None, _CONTROLS) != value:
        raise RuntimeError(f"the value of {name!r} has a control character in it")
    return start + value + _CRLF


def _length(name: bytes, value: bytes) -> tuple[bytes, int]:
    if not value.isdigit():
        raise RuntimeError(f"Content-Length {value!r} is no number")
    return line(name, value), int(value)


def _without(name: bytes, lines: bytes) -> bytes:
    start = prefix(name)
    return b"".join([each for each in lines.splitlines(True) if not each.startswith(start)])


class Response:
    """The sending half of a `Request`: one object, as most requests need no second one.

    Slots, all of them set at once: that is 0.4 us a request cheaper than defaults in the class.
    """

    __slots__ = (
        "_head",
        "_is_chunked",
        "_is_open_ended",
        "_left",
        "connection",
        "has_body",
        "is_gone",
        "keep_alive",
        "scope",
        "stage",
        "status",
    )

    def __init__(self, connection: "Connection", scope: Scope, keep_alive: bool) -> None:
        self.connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        """Whether the connection may serve another request after this one."""
        self.has_body = scope["method"] != "HEAD"
        """Whether the answer may have one."""
        self.is_gone = False
        """Nobody is there any more to answer."""
        self.stage = START
        self.status = 0
        self._head: list[bytes] | None = None
        self._left = 0  # bytes of the body that Content-Length still announces
        self._is_chunked = False
        self._is_open_ended = False  # the end of the connection ends the body

    async def send(self, message: Message) -> None:
        """ASGI's ``send``. After a disconnect it does nothing, as in uvicorn."""
        if self.connection.is_write_paused and not self.is_gone:
            await self.connection.until_writable()
        if self.is_gone:
            return
        kind = message["type"]
        stage = self.stage
        if stage == START:
            if kind == "http.response.start":
                self._begin(message)
            elif kind == "http.response.early_hint":
                self._hint(message)
            else:
                raise RuntimeError(f"expected 'http.response.start', not {kind!r}")
        elif stage == DONE:
            raise RuntimeError(f"{kind!r} was sent after the answer was complete")
        elif kind == "http.response.body":
            self._continue(message)
        elif kind == "http.response.pathsend" and stage == HEAD:
            await send_file(self, message["path"])
        else:
            raise RuntimeError(f"expected 'http.response.body', not {kind!r}")

    def _begin(self, message: Message) -> None:
        status = message["status"]
        begin = STATUS_LINES.get(status)
        if begin is None or status < 200 or not isinstance(status, int):
            raise RuntimeError(f"{status!r} is no status of a final answer")
        connection = self.connection
        service = connection.service
        parts = [begin, service.fixed_lines or service.refresh()]
        length = None
        is_chunked = says_close = False
        connection_line = b""
        for pair in message.get("headers", ()):
            if pair.__class__ is not tuple:
                pair = tuple(pair)
            try:
                made = _lines.get(pair)
            except (TypeError, ValueError):  # a bytearray or the like, which has no hash
                made = None
            if made is not None:
                parts.append(made)
                continue
            pair = bytes(pair[0]), bytes(pair[1])
            known = _lengths.get(pair)
            if known is not None and length is None:
                made, length = known
                parts.append(made)
                continue
            # Not seen before, or one of those that say how the answer is framed.
            name, value = pair
            match bytes(name).lower():
                case b"content-length":
                    if length is not None:
                        raise RuntimeError("Content-Length is given twice")
                    made, length = _length(name, value)
                    parts.append(made)
                    keep(_lengths, pair, len(value), (made, length))
                case b"transfer-encoding":
                    if value.lower() != b"chunked":
                        raise RuntimeError(f"Transfer-Encoding {value!r} is not supported")
                    is_chunked = True
                case b"connection":
                    connection_line = line(name, value)
                    says_close = b"close" in [each.strip() for each in value.lower().split(b",")]
                case b"date" | b"server" as own:  # a proxy's; one of each (RFC 9110, 6.6.1)
                    parts[1] = _without(own, parts[1])
                    parts.append(line(name, value))
                case _:
                    made = line(name, value)
                    parts.append(made)
                    keep(_lines, pair, len(value), made)
        has_body = self.has_body and status != 204 and status != 304
        if length is not None and not is_chunked:
            if has_body:
                self._left = length
        else:
            if length is not None:  # both: the coding wins (RFC 9112, 6.2)
                parts = [part for part in parts if not part.startswith(b"content-length:")]
            if not has_body:
                if is_chunked and status != 204:  # RFC 9112, 6.1: never in a 204
                    parts.append(_CHUNKED)
            elif self.scope["http_version"] == "1.0":
                self._is_open_ended = True
            else:
                self._is_chunked = True
                parts.append(_CHUNKED)
        if says_close or not self.keep_alive or connection.is_last(self):
            self.keep_alive = False
            if says_close:
                parts.append(connection_line)
                parts.append(_CRLF)
            else:
                parts.append(_CLOSE)
        else:
            parts.append(connection_line)
            parts.append(_CRLF)
        self.status = status
        self.stage = HEAD
        self._head = parts
        service.hold(self)

    def _continue(self, message: Message) -> None:
        body = message.get("body", b"")
        if body.__class__ is not bytes:
            body = bytes(
                memoryview(body)
            )  # it is written later, maybe, and the application may use it again
        more = message.get("more_body", False)
        size = len(body)
        head = self._head
        parts = [] if head is None else head
        if self._is_chunked:
            if size:
                parts += (b"%x\r\n" % size, body, _CRLF)
            if not more:
                parts.append(b"0\r\n\r\n")
        elif self.has_body:
            if not self._is_open_ended:
                left = self._left - size
                if left < 0:
                    raise RuntimeError("the body is longer than its Content-Length")
                if left and not more:
                    raise RuntimeError("the body is shorter than its Content-Length")
                self._left = left
            parts.append(body)
        if size < _LARGE or not self.connection.service.has_writelines:
            data = b"".join(parts)
            if head is not None:
                self._note_head()
            if data:
                connection = self.connection
                connection.service.traffic.sent += len(data)
                connection.transport.write(data)
        else:
            # A copy of a large body costs more than a second buffer.
            if head is not None:
                self._note_head()
            self.connection.service.traffic.sent += sum(map(len, parts))
            self.connection.transport.writelines(parts)
        if more:
            self.stage = BODY
        else:
            self.stage = DONE
            self.finish()

    def flush_head(self) -> None:
        """Write a head whose body lets wait for itself."""
        if self.stage == HEAD and self._head is not None and not self.is_gone:
            head = b"".join(self._head)
            self._note_head()
            self.write(head)

    def _note_head(self) -> None:
        self._head = None
        self.stage = BODY
        access = self.connection.service.access
        if access is not None:
            access.write(self.scope, self.status)

    @abstractmethod
    def finish(self) -> None:
        """The answer is complete."""

    def answer(self, status: int, text: bytes) -> None:
        """Answer in the application's place, as the last of this connection."""
        self._head = None
        self.status = status
        self.keep_alive = False
        self._note_head()
        service = self.connection.service
        self.write(plain(service.head_lines, status, text, has_body=self.has_body))
        self.stage = DONE
        self.finish()

    def _hint(self, message: Message) -> None:
        if self.scope["http_version"] == "1.0":
            return  # RFC 9110, 15.2: never to a 1.0 client
        lines = b"".join([line(b"link", link) for link in message["links"]])
        self.write(b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % lines)

    def write(self, data: bytes) -> None:
        """Send ``data``, which is counted."""
        self.connection.service.traffic.sent += len(data)
        self.connection.transport.write(data)


def plain(head_lines: bytes, status: int, text: bytes, *, has_body: bool = True) -> bytes:
    """A whole answer in plain text that closes the connection."""
    head = b"%b%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%b" % (
        STATUS_LINES[status],
        head_lines,
        len(text),
        _CLOSE,
    )
    return head + text if has_body else head
