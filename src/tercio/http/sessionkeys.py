"""Find the key of a session in a request: what ``--sticky`` names.

header:NAME     the value of a header field
query:NAME      a parameter of the target
cookie:NAME     a cookie
ip              the client's address, a trusted proxy's word for it included
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from tercio.http.peek import Head

KINDS: Final = ("header", "query", "cookie", "ip")


class SessionKeys:
    """Reads requests; ``sources`` are the values of ``--sticky``, the first one first."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = [_parse(source) for source in sources]

    @property
    def needs_address(self) -> bool:
        """Whether a client's address may be a key."""
        return any(kind == "ip" for kind, _ in self._sources)

    def find(self, head: Head, client: str | None) -> bytes | None:
        """The key of a request by ``client``; None if it has none of those that are looked for.

        A session may be named in a cookie here and in a parameter there: both are the same key. An
        address never is.
        """
        for kind, name in self._sources:
            match kind:
                case "header":
                    value = _header(head, name)
                case "query":
                    value = _parameter(head.query, name)
                case "cookie":
                    value = _cookie(head, name)
                case _:
                    value = (client or "").encode("latin-1", "replace")
            if value:
                return value if kind != "ip" else b"ip\0" + value
        return None


def _parse(source: str) -> tuple[str, bytes]:
    kind, _, name = source.partition(":")
    encoded = name.encode("latin-1")
    return kind, encoded.lower() if kind == "header" else encoded


def _header(head: Head, name: bytes) -> bytes:
    return next((value for each, value in head.headers if each == name), b"")


def _parameter(query: bytes, name: bytes) -> bytes:
    for pair in query.split(b"&"):
        key, equals, value = pair.partition(b"=")
        if equals and unquote_to_bytes(key.replace(b"+", b" ")) == name:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return b""


def _cookie(head: Head, name: bytes) -> bytes:
    """The first of that name, as browsers send the one with the longest path first (RFC 6265)."""
    for each, value in head.headers:
        if each == b"cookie":
            for pair in value.split(b";"):
                key, equals, content = pair.strip(b" \t").partition(b"=")
                if equals and key == name:
                    return content.strip(b'"')
    return b""
