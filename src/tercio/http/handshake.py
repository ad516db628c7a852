"""Decide whether a request becomes a WebSocket, and write the heads that answer it (RFC 6455, 4.2).

Pure. Key, extensions and subprotocols are parsed by `websockets`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.headers import parse_subprotocol
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tercio.http.asgi import Scope
from tercio.http.deflate import Deflate
from tercio.http.response import STATUS_LINES, line, prefix

_READ = frozenset({b"connection", b"upgrade", b"origin"})
_READ_PREFIX = b"sec-websocket-"
_VERSION = b"13"

# What would contradict the handshake's own lines.
_OURS = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"transfer-encoding",
        b"upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Handshake:
    """A request that may become a WebSocket if the application likes."""

    subprotocols: list[str]
    """What the client offers."""
    lines: bytes
    """The lines of the answer that are the protocol's."""
    deflate: Deflate | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that cannot."""

    status: int
    text: str
    lines: bytes = b""


def examine(scope: Scope, *, deflate: bool) -> Handshake | Refusal:
    """Look at the request of ``scope``."""
    if scope["http_version"] != "1.1":
        return Refusal(400, "A WebSocket needs HTTP/1.1.\n")
    headers = Headers()
    versions = []
    for name, value in scope["headers"]:
        # Only what is looked at: a strange cookie is none of our business.
        if name in _READ or name.startswith(_READ_PREFIX):
            headers[name.decode("ascii")] = value.decode("latin-1")
            if name == b"sec-websocket-version":
                versions.append(value)
    if versions != [_VERSION]:
        return _wrong_version(versions)
    protocol = ServerProtocol(extensions=_extensions() if deflate else None)
    response = protocol.accept(Request(scope["raw_path"].decode("latin-1"), headers))
    if response.status_code != 101:
        lines = b"upgrade: websocket\r\n" if response.status_code == 426 else b""
        return Refusal(response.status_code, (response.body or b"").decode(), lines)
    lines = (
        b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n"
        % response.headers["Sec-WebSocket-Accept"].encode()
    )
    if extensions := response.headers.get("Sec-WebSocket-Extensions"):
        lines += b"sec-websocket-extensions: %b\r\n" % extensions.encode()
    return Handshake(_subprotocols(headers), lines, _deflate(protocol.extensions))


def accept_head(
    handshake: Handshake,
    head_lines: bytes,
    subprotocol: str | None,
    headers: Iterable[tuple[bytes, bytes]],
) -> bytes:
    """The answer that makes it a WebSocket. Raises RuntimeError for what cannot be sent."""
    lines = [STATUS_LINES[101], handshake.lines, head_lines]
    if subprotocol:
        name = subprotocol.encode()
        prefix(name)  # a token, as the name of a header is
        lines.append(b"sec-websocket-protocol: %b\r\n" % name)
    lines += header_lines(headers, _OURS)
    lines.append(b"\r\n")
    return b"".join(lines)


def header_lines(headers: Iterable[tuple[bytes, bytes]], refused: frozenset[bytes]) -> list[bytes]:
    """An application's headers as lines. Raises RuntimeError for what would split the answer."""
    lines = []
    for name, value in headers:
        if bytes(name).lower() in refused:
            raise RuntimeError(f"{name!r} is decided by the server")
        lines.append(line(name, value))
    return lines


@cache
def _extensions() -> list[ServerPerMessageDeflateFactory]:
    # As in uvicorn: a window of 4 KiB and little memory, which costs a few per cent of size.
    return [
        ServerPerMessageDeflateFactory(
            server_max_window_bits=12,
            client_max_window_bits=12,
            compress_settings={"memLevel": 5},
        )
    ]


def _deflate(extensions: Iterable[Extension]) -> Deflate | None:
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return Deflate(extension)
    return None


def _wrong_version(versions: list[bytes]) -> Refusal:
    lines = b"upgrade: websocket\r\nsec-websocket-version: %b\r\n" % _VERSION
    if len(versions) != 1:
        return Refusal(400, "One Sec-WebSocket-Version is needed: 13.\n", lines)
    return Refusal(426, "Sec-WebSocket-Version 13 is spoken here.\n", lines)


def _subprotocols(headers: Headers) -> list[str]:
    names: list[str] = []
    for value in headers.get_all("Sec-WebSocket-Protocol"):
        names += parse_subprotocol(value)
    return names
