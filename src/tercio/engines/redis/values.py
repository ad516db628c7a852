"""How a value lies in Redis: whole numbers as decimal text, so that INCRBY knows them.

Everything else is a byte that msgpack never begins with, and then the value as it came. Both ways
give back the very bytes that were stored, whatever they are.
"""

from typing import Final

import msgspec

from tercio.errors import WrongType

_MARK: Final = b"\xc1"
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_LENGTHS: Final = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_int: Final = msgspec.msgpack.Decoder(int).decode


def to_stored(value: bytes) -> bytes:
    """What to store for an encoded value."""
    if value:
        first = value[0]
        if len(value) == 1:
            if first <= 0x7F:
                return b"%d" % first
            if first >= 0xE0:
                return b"%d" % (first - 256)
        elif _LENGTHS.get(first) == len(value):
            number = _decode_int(value)
            # A number beyond 64 bits, or written longer than it need be, must come back as it was.
            if _LOW <= number <= _HIGH and _encode(number) == value:
                return b"%d" % number
    return _MARK + value


def from_stored(stored: bytes) -> bytes:
    """The encoded value. Raises `WrongType` for what was not stored by `to_stored` or INCRBY."""
    if stored[:1] == _MARK:
        return stored[1:]
    try:
        number = int(stored)
        if _LOW <= number <= _HIGH and b"%d" % number == stored:
            return _encode(number)
    except ValueError:
        pass
    raise WrongType("what is stored under this key was not written by Tercio")
