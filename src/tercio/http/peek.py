"""Read a request's head without taking it: to know where it belongs before anything is answered."""

from dataclasses import dataclass, field
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

END: Final = b"\r\n\r\n"


@dataclass(slots=True)
class Head:
    """What a request says before its body."""

    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Names in lower case."""
    is_complete: bool = False
    most: int = 100
    """Header fields, beyond which nobody looks any further."""

    # What llhttp calls

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self.most:
            raise _Enough
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_complete = True
        raise _Enough  # what comes behind is none of our business

    @property
    def query(self) -> bytes:
        """What the target says behind its question mark."""
        return self.target.partition(b"?")[2].partition(b"#")[0]


def peek(data: bytes, most: int = 100) -> Head | None:
    """The head of the request that ``data`` begins with.

    None if it is not all there, has more than ``most`` fields, or is none that a server would
    accept: who really reads it says so.
    """
    if END not in data:
        return None  # also of what a lenient server would take: a bare LF is not accepted here
    found = Head(most=most)
    parser: Any = HttpRequestParser(found)
    try:
        parser.feed_data(data)
    except (HttpParserError, HttpParserUpgrade):
        pass  # _Enough among them: llhttp wraps what its callbacks raise
    return found if found.is_complete else None


class _Enough(Exception):
    """Raised through the parser."""
