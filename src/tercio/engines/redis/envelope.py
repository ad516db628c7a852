"""What one PUBLISH carries: its sender and host, the number of its first message, and messages.

Read strictly: whoever may publish on the channel may have sent anything.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
HOST_BYTES: Final = 8
_HEAD: Final = struct.Struct("<B8sQQI")  # version, host, publisher, first number, how many
_FRAME: Final = struct.Struct("<HI")  # bytes of the topic, of the body
HEAD_BYTES: Final = _HEAD.size
FRAME_BYTES: Final = _FRAME.size


class Malformed(ValueError):
    """These bytes are no envelope of ours."""


@dataclass(slots=True)
class Envelope:
    """Messages of one publisher, numbered without a gap from ``first`` on."""

    host: bytes
    publisher: int
    first: int
    messages: list[tuple[bytes, bytes]]
    """Topics and bodies."""


def pack(host: bytes, publisher: int, first: int, messages: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bytes of an envelope."""
    parts = [b""]
    count = 0
    for topic, body in messages:
        parts += (_FRAME.pack(len(topic), len(body)), topic, body)
        count += 1
    parts[0] = _HEAD.pack(VERSION, host, publisher, first, count)
    return b"".join(parts)


def host_of(packed: bytes) -> bytes:
    """The host that an envelope comes from, without reading the rest."""
    return packed[1 : 1 + HOST_BYTES]


def unpack(packed: bytes) -> Envelope:
    """Read an envelope. Raises `Malformed`."""
    if len(packed) < _HEAD.size:
        raise Malformed("too short")
    version, host, publisher, first, count = _HEAD.unpack_from(packed)
    if version != VERSION:
        raise Malformed(f"version {version}")
    end, at, step = len(packed), _HEAD.size, _FRAME.size
    if count * step > end - at:
        raise Malformed("fewer messages than it says")
    messages = []
    frame = _FRAME.unpack_from
    for _ in range(count):
        if at + step > end:
            raise Malformed("cut off")
        topic_bytes, body_bytes = frame(packed, at)
        at += step
        body_at = at + topic_bytes
        next_at = body_at + body_bytes
        if next_at > end:
            raise Malformed("cut off")
        messages.append((packed[at:body_at], packed[body_at:next_at]))
        at = next_at
    if at != end:
        raise Malformed("more bytes than it says")
    return Envelope(host, publisher, first, messages)
