"""What a WSGI application answers, as ASGI messages (PEP 3333, "The start_response() Callable").

No server can be asked to check it: what is sent after a head with the wrong length is, for the
client, the beginning of the next answer.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from tercio.http.asgi import Message

ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
Put = Callable[[Sequence[Message], int], None]

_BLANKS: Final = " \t"
"""What may stand around a header's value; all that `str.strip` takes away may be in it."""
_WITHOUT_BODY: Final = frozenset({204, 304})  # RFC 9110, 15.3.5 and 15.4.5


class Answer:
    """Of one request, made in the application's thread."""

    def __init__(self, method: str, put: Put) -> None:
        """``put`` takes the next messages, with the size of their body; it may wait, and raise."""
        self._method = method
        self._put = put
        self._head: Message | None = None
        self._is_begun = False
        self._has_body = True
        self._left: int | None = None  # bytes of the body that Content-Length still announces

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's ``start_response``."""
        if exc_info is not None:
            try:
                if self._is_begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its frames would keep it, and it its frames
        elif self._head is not None:
            raise AssertionError(
                "start_response was called twice, the second time without exc_info"
            )
        code = int(status.split(" ", 1)[0])
        fields = [
            (name.strip(_BLANKS).lower().encode("latin-1"), value.strip(_BLANKS).encode("latin-1"))
            for name, value in headers
        ]
        if code in _WITHOUT_BODY:
            # Never in a 204, of no use in a 304 (RFC 9110, 8.6), and uvicorn would wait for it.
            fields = [field for field in fields if field[0] != b"content-length"]
        self._has_body = self._method != "HEAD" and code not in _WITHOUT_BODY
        self._left = _length(fields) if self._has_body else None
        self._head = {"type": "http.response.start", "status": code, "headers": fields}
        return self.write

    def write(self, piece: bytes) -> None:
        """One piece of the body; an empty one is none."""
        if piece:
            self._send(piece, is_last=False)

    def end(self, piece: bytes = b"") -> None:
        """The last piece."""
        self._send(piece, is_last=True)

    def _send(self, piece: bytes, *, is_last: bool) -> None:
        if piece.__class__ is not bytes:
            piece = _as_bytes(piece)
        head = self._head
        if head is None:
            raise AssertionError("the application has a body, and did not call start_response")
        if not self._has_body:
            piece = b""
        elif self._left is not None:
            left = self._left - len(piece)
            if left < 0:
                raise RuntimeError("the body is longer than its Content-Length")
            if left and is_last:
                raise RuntimeError("the body is shorter than its Content-Length")
            self._left = left
        body = {"type": "http.response.body", "body": piece, "more_body": not is_last}
        messages = (body,) if self._is_begun else (head, body)
        self._is_begun = True
        self._put(messages, len(piece))


def _as_bytes(piece: object) -> bytes:
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)  # the application may write into it again before it is sent
    raise TypeError(f"a piece of the body is {type(piece).__name__}, and has to be bytes")


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    fields = dict(headers)
    value = fields.get(b"content-length")
    if value is None or b"transfer-encoding" in fields:  # the coding wins (RFC 9112, 6.2)
        return None
    if not value.isdigit():
        raise ValueError(f"Content-Length {value.decode('latin-1')!r} is no number")
    return int(value)
