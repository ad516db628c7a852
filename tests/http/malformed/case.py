"""One row of the table, and the words its rows are made of."""

from dataclasses import dataclass
from typing import Final

GOOD: Final = b"GET /good HTTP/1.1\r\nHost: h\r\n\r\n"
"""Sent before a case: it gets its answer whatever follows."""

NEXT: Final = b"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
"""Sent after a case: served if the case was, and if its end is where it should be."""

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
"""Hidden inside a case: never served."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the application is to see of a case that is served."""

    method: str = "GET"
    path: str = "/case"
    query: bytes = b""
    body: bytes = b""
    header: tuple[bytes, bytes] | None = None
    """One of its header fields."""
    ends: bool = False
    """Whether the connection ends with its answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """Refused with one of ``statuses``, or served as ``request``; few cases may be either."""

    name: str
    data: bytes
    statuses: frozenset[int] = frozenset()
    request: Request | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def refused(name: str, data: bytes, *statuses: int) -> Case:
    """A case that is answered with a refusal, 400 unless told."""
    return Case(name, data, frozenset(statuses or (400,)))


def served(
    name: str,
    data: bytes,
    method: str = "GET",
    path: str = "/case",
    *,
    query: bytes = b"",
    body: bytes = b"",
    header: tuple[bytes, bytes] | None = None,
    ends: bool = False,
    unless: int | None = None,
) -> Case:
    """A case that is served; ``unless`` is a status that does as well."""
    statuses = frozenset(() if unless is None else (unless,))
    return Case(name, data, statuses, Request(method, path, query, body, header, ends))


def line(first: bytes) -> bytes:
    """A request that has nothing but its first line, and a host."""
    return first + b"\r\nHost: h\r\n\r\n"


def fields(*lines: bytes) -> bytes:
    """A GET with these lines in its head."""
    return b"\r\n".join((b"GET /case HTTP/1.1", b"Host: h", *lines, b"", b""))


def post(*lines: bytes, body: bytes = b"hello") -> bytes:
    """A POST with these lines in its head, and a body."""
    return b"\r\n".join((b"POST /case HTTP/1.1", b"Host: h", *lines, b"", b"")) + body


def chunked(body: bytes) -> bytes:
    """A POST whose body has this framing."""
    return post(b"Transfer-Encoding: chunked", body=body)
