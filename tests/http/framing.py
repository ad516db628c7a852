"""Frames as a client writes and reads them, by our own hand: any bit may be wrong."""

import zlib
from typing import Final, NamedTuple

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_MASK: Final = b"\x37\xfa\x21\x3d"  # the example of RFC 6455


class Frame(NamedTuple):
    """One frame of a server."""

    opcode: int
    data: bytes
    is_last: bool = True
    reserved: int = 0


def encode(
    opcode: int,
    data: bytes = b"",
    *,
    is_last: bool = True,
    reserved: int = 0,
    is_masked: bool = True,
    length: int | None = None,
) -> bytes:
    """A frame. ``reserved`` is 0-7; ``length`` is what its head claims."""
    size = len(data) if length is None else length
    head = bytes(((128 if is_last else 0) | reserved << 4 | opcode,))
    masked = 128 if is_masked else 0
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + size.to_bytes(2)
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8)
    return head + (_MASK + mask(data) if is_masked else data)


def mask(data: bytes) -> bytes:
    """One large number is quick enough for a MiB."""
    key = _MASK * (len(data) // 4 + 1)
    return (int.from_bytes(data) ^ int.from_bytes(key[: len(data)])).to_bytes(len(data))


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return encode(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


def split(opcode: int, data: bytes, size: int, reserved: int = 0) -> bytes:
    """A message in fragments of ``size`` bytes."""
    parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return b"".join(
        encode(
            opcode if index == 0 else CONTINUATION,
            part,
            is_last=index == len(parts) - 1,
            reserved=reserved if index == 0 else 0,
        )
        for index, part in enumerate(parts)
    )


class FrameParser:
    """Frames out of what a server sends; asserts what a server has to keep to."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        self._data += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    @property
    def is_between_frames(self) -> bool:
        return not self._data

    def _next(self) -> Frame | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        assert size < 128, "a server's frames are not masked"
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
            assert size >= 126 or len(data) < start, "a length takes as few bytes as it can"
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
            assert size >= 1 << 16 or len(data) < start, "a length takes as few bytes as it can"
        if len(data) < start + size:
            return None
        first = data[0]
        frame = Frame(
            first & 15, bytes(data[start : start + size]), bool(first & 128), first >> 4 & 7
        )
        assert frame.opcode in (0, 1, 2, 8, 9, 10)
        assert frame.opcode < 8 or (frame.is_last and size < 126 and not frame.reserved)
        del data[: start + size]
        return frame


class Compression:
    """A client's side of permessage-deflate."""

    def __init__(
        self, *, our_bits: int = 15, their_bits: int = 15, keeps_ours: bool, keeps_theirs: bool
    ) -> None:
        self._our_bits = our_bits
        self._their_bits = their_bits
        self._keeps_ours = keeps_ours
        self._keeps_theirs = keeps_theirs
        self._deflater = zlib.compressobj(wbits=-our_bits)
        self._inflater = zlib.decompressobj(wbits=-their_bits)

    def deflate(self, data: bytes) -> bytes:
        if not self._keeps_ours:
            self._deflater = zlib.compressobj(wbits=-self._our_bits)
        return (self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def inflate(self, frame: Frame) -> bytes:
        if not frame.reserved:
            return frame.data
        assert frame.reserved == 4
        if not self._keeps_theirs:
            self._inflater = zlib.decompressobj(wbits=-self._their_bits)
        return self._inflater.decompress(frame.data + b"\x00\x00\xff\xff")
