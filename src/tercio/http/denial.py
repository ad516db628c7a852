"""Answer a WebSocket's request with an HTTP response, as the application words it.

    begun --first part, head--> under way --last part--> complete

ASGI calls it the extension ``websocket.http.response``. Pure: messages in, bytes out.
"""

from tercio.http.asgi import Message
from tercio.http.handshake import header_lines
from tercio.http.response import STATUS_LINES

_REFUSED = frozenset({b"upgrade"})
_BODILESS = frozenset({204, 304})


class Denial:
    """One such response. Raises RuntimeError for what cannot be sent."""

    __slots__ = ("_head", "_is_chunked", "_left", "is_begun", "is_complete", "status")

    def __init__(self, message: Message, head_lines: bytes) -> None:
        self.status: int = message["status"]
        line = STATUS_LINES.get(self.status)
        if line is None or self.status < 200:
            raise RuntimeError(f"{self.status!r} is no status of a final answer")
        self.is_begun = False
        self.is_complete = False
        self._is_chunked = False
        self._left: int | None = None  # bytes that Content-Length still announces
        headers = []
        has_type = False
        for name, value in message.get("headers", ()):
            match bytes(name).lower():
                case b"content-length":
                    if self._left is not None or not value.isdigit():
                        raise RuntimeError(f"Content-Length {value!r}: one number is allowed")
                    self._left = int(value)
                case b"transfer-encoding" | b"connection":
                    pass  # decided here: it is the last answer of its connection
                case lower:
                    has_type = has_type or lower == b"content-type"
                    headers.append((name, value))
        if not has_type and self.status not in _BODILESS:
            headers.append((b"content-type", b"text/plain; charset=utf-8"))
        self._head = b"".join((line, head_lines, *header_lines(headers, _REFUSED)))

    def part(self, message: Message) -> bytes:
        """What a part of the body adds to what is sent, with the head before the first one."""
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        if self.status in _BODILESS:
            body = b""
            self._left = None
        elif self._left is not None:
            if len(body) > self._left:
                raise RuntimeError("the body is longer than its Content-Length")
            if len(body) < self._left and not more:
                raise RuntimeError("the body is shorter than its Content-Length")
        head = b"" if self.is_begun else self._framed_head(len(body), more)
        if self._left is not None:
            self._left -= len(body)
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        self.is_begun = True
        self.is_complete = not more
        return head + body

    def _framed_head(self, length: int, more: bool) -> bytes:
        if self.status in _BODILESS:
            framing = b""
        elif self._left is not None:
            framing = b"content-length: %d\r\n" % self._left
        elif more:
            self._is_chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b"content-length: %d\r\n" % length
        return b"%b%bconnection: close\r\n\r\n" % (self._head, framing)
