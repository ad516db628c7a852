"""What travels between processes for the clients of rooms."""

import json
from typing import Any, Final

import msgspec

from tercio.codec import UNENCODABLE
from tercio.errors import Unencodable

ROOM: Final = 0
"""To everybody in a room."""

ALL: Final = 1
"""To every client."""

ONE: Final = 2
"""To one client."""

CLOSE: Final = 3
"""End one client's connection."""


class Posted(msgspec.Struct, array_like=True, frozen=True):
    """One message, as it will be sent to clients: text or bytes."""

    kind: int
    target: str
    """The room, or the client's id."""
    content: Any
    """``str | bytes``; msgspec tells them apart by themselves only."""
    number: int = 0
    """Its place in a room that keeps messages; elsewhere 0. Of `CLOSE` the code."""
    exclude: tuple[str, ...] = ()


_encode_json: Final = msgspec.json.Encoder().encode
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Posted).decode


def encoded(posted: Posted) -> bytes:
    """For the way."""
    return _encode(posted)


def decoded(body: bytes) -> Posted:
    """From the way. Raises what `codec.UNREADABLE` names."""
    posted = _decode(body)
    if not isinstance(posted.content, str | bytes):
        raise msgspec.ValidationError("neither text nor bytes")
    return posted


def content_of(message: object) -> str | bytes:
    """What a client gets: text and bytes as they are, anything else as JSON. Once, for all.

    Raises `Unencodable`.
    """
    if isinstance(message, str | bytes):
        return message
    return _json(message)


def numbered(room: str, number: int, message: object) -> str:
    """What a client of a room that keeps messages gets, so that it knows where it is.

    Raises `Unencodable`.
    """
    if isinstance(message, bytes):
        raise Unencodable("a room that keeps messages sends JSON, which has no bytes: send text")
    return f'{{"room":{json.dumps(room)},"seq":{number},"data":{_json(message)}}}'


def _json(message: Any) -> str:
    try:
        return _encode_json(message).decode()
    except UNENCODABLE as error:
        raise Unencodable(
            f"a message of type {type(message).__name__} cannot be sent as JSON: {error}; send "
            "text, bytes, or what JSON knows"
        ) from error
