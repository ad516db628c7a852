"""Read what a server wrote, as strictly as it is meant: whatever is left over is a fault."""

from collections.abc import Iterable
from dataclasses import dataclass, field

NO_BODY = (204, 304)


@dataclass(frozen=True)
class Answer:
    """One answer; those with a status below 200 come before another one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: tuple[bytes, ...] = ()
    is_whole: bool = True

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "") == "close"


class Unreadable(AssertionError):
    """What came is no sequence of answers."""


def answers(data: bytes, methods: Iterable[str] = ()) -> list[Answer]:
    """All answers in ``data``; ``methods`` are those of the requests, as far as they matter."""
    found = []
    asked = list(methods)
    while data:
        answer, data = _first(data, asked[0] if asked else "GET")
        if answer.status >= 200 and asked:
            del asked[0]
        found.append(answer)
    return found


def final(data: bytes, methods: Iterable[str] = ()) -> list[Answer]:
    """The answers without those that only announce another one."""
    return [answer for answer in answers(data, methods) if answer.status >= 200]


def _first(data: bytes, method: str) -> tuple[Answer, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Unreadable(f"no end of a head: {data[:200]!r}")
    first, *lines = head.split(b"\r\n")
    version, _, status_and_reason = first.partition(b" ")
    status = status_and_reason[:3]
    if version != b"HTTP/1.1" or not status.isdigit() or status_and_reason[3:4] != b" ":
        raise Unreadable(f"no status line: {first[:200]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(": ")
        if not colon or not name or name.lower() in headers or "\n" in line.decode("latin-1"):
            raise Unreadable(f"no header, or twice the same: {line!r}")
        headers[name.lower()] = value
    code = int(status)
    if code < 200 or code in NO_BODY or method == "HEAD":
        return Answer(code, headers), rest
    if headers.get("transfer-encoding") == "chunked":
        if "content-length" in headers:
            raise Unreadable("both a length and chunks")
        return _chunked(code, headers, rest)
    length = headers.get("content-length")
    if length is None:
        if headers.get("connection") != "close":
            raise Unreadable("neither a length nor a close")
        return Answer(code, headers, rest), b""
    body, rest = rest[: int(length)], rest[int(length) :]
    return Answer(code, headers, body, is_whole=len(body) == int(length)), rest


def _chunked(code: int, headers: dict[str, str], data: bytes) -> tuple[Answer, bytes]:
    chunks: list[bytes] = []
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            break
        size = int(line, 16)
        chunk, after = rest[:size], rest[size:]
        if len(after) < 2:
            break
        if after[:2] != b"\r\n":
            raise Unreadable(f"a chunk of {size} bytes does not end where it should")
        data = after[2:]
        if size == 0:
            return Answer(code, headers, b"".join(chunks), tuple(chunks)), data
        chunks.append(chunk)
    return Answer(code, headers, b"".join(chunks), tuple(chunks), is_whole=False), b""
