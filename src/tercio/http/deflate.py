"""Compress and expand the messages of one WebSocket (RFC 7692). Pure.

What was agreed on comes from `websockets`; its own extension object makes both contexts at once,
which is 40 KiB for a WebSocket that may never say a word. Here each is made when it is needed.
"""

import zlib
from typing import Final, Protocol

from websockets.extensions.permessage_deflate import PerMessageDeflate

WORTH_IT: Final = 128
"""Bytes from which on a message is compressed.

Each message may or may not be. Below this hardly a byte is saved, at ten times the cost of sending
them.
"""

_SYNC: Final = b"\x00\x00\xff\xff"  # the end of each message, which is not sent


class TooLarge(Exception):
    """A message is larger than it may be."""


class Corrupt(Exception):
    """What came is no compressed message."""


class _Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = 0) -> bytes: ...


class Deflate:
    """Both directions of one WebSocket."""

    __slots__ = ("_deflater", "_inflater", "_terms")

    def __init__(self, terms: PerMessageDeflate) -> None:
        self._terms: Final = Terms(terms)
        self._deflater: _Deflater | None = None
        self._inflater: _Inflater | None = None

    def deflate(self, data: bytes) -> bytes:
        """A whole message."""
        deflater = self._deflater
        if deflater is None:
            deflater = self._terms.deflater()
            if self._terms.keeps_ours:
                self._deflater = deflater
        return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def inflate(self, data: bytes, limit: int, *, is_last: bool) -> bytes:
        """A part of a message, of ``limit`` bytes at the most. Raises `TooLarge`, `Corrupt`."""
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = self._terms.inflater()
        try:
            # One byte more than allowed tells a bomb from the largest message; 0 would be any size.
            expanded = inflater.decompress(data + _SYNC if is_last else data, limit + 1)
        except zlib.error as error:
            raise Corrupt(str(error)) from error
        if len(expanded) > limit:
            raise TooLarge
        if inflater.eof and (not is_last or inflater.unused_data not in (_SYNC, b"\x00" + _SYNC)):
            raise Corrupt("something follows the final block")
        # A final block ends the client's stream, and zlib would drop all that follows: who sends
        # one begins a new stream with the next message.
        if inflater.eof or (is_last and not self._terms.keeps_theirs):
            self._inflater = None
        return expanded


class Terms:
    """What both sides agreed on."""

    __slots__ = ("_level", "_our_bits", "_their_bits", "keeps_ours", "keeps_theirs")

    def __init__(self, agreed: PerMessageDeflate) -> None:
        self.keeps_ours = not agreed.local_no_context_takeover
        self.keeps_theirs = not agreed.remote_no_context_takeover
        self._our_bits = agreed.local_max_window_bits
        self._their_bits = agreed.remote_max_window_bits
        self._level = agreed.compress_settings.get("memLevel", zlib.DEF_MEM_LEVEL)

    def deflater(self) -> _Deflater:
        return zlib.compressobj(wbits=-self._our_bits, memLevel=self._level)

    def inflater(self) -> _Inflater:
        return zlib.decompressobj(wbits=-self._their_bits)
