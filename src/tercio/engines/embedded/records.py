"""How a key lies in a table: its kind, its end, its payload, and the index of ends.

    k KEY            tag, payload                      a record that stays
    k KEY            tag + 128, end, indexed, payload  one that ends
    t INDEXED KEY    -                                 the index that the sweep follows
    n                number                            the last id or fencing token given out
    s ID ...         see `collections` and `moving`    the parts of a queue, a group, a window
    g ID             -                                 parts that nobody needs any more

Times are seconds as big-endian doubles: for those that are not negative the order of the bytes is
the order of the numbers. A record that ends has one entry in the index, at its end or before it,
so one whose end only moves on (hits, sessions) does not touch the index each time.

`primary.statedir.FORMAT` counts the changes of all this.
"""

import struct
from enum import IntEnum
from typing import Final

from tercio.engines.embedded.table import Table
from tercio.errors import WrongType
from tercio.state.keys import shown

MAIN: Final = b"k"
TIMES: Final = b"t"
NUMBER: Final = b"n"
PARTS: Final = b"s"
GARBAGE: Final = b"g"

TIME: Final = struct.Struct(">d")
ID: Final = struct.Struct(">Q")

_TIMED: Final = 0x80
_ENDS: Final = struct.Struct(">dd")
_HEAD: Final = 1 + _ENDS.size


class Kind(IntEnum):
    """What a record is."""

    VALUE = 1
    LOCK = 2
    FIXED = 3
    SLIDING = 4
    MOVING = 5
    QUEUE = 6
    GROUP = 7


COLLECTIONS: Final = (Kind.QUEUE, Kind.GROUP)


def payload_of(raw: bytes | None, key: bytes, kind: int, now: float) -> bytes | None:
    """What a live record holds, None if there is none. Raises `WrongType`."""
    if raw is None:
        return None
    tag = raw[0]
    if tag == kind:
        return raw[1:]
    if tag & _TIMED:
        if _ENDS.unpack_from(raw, 1)[0] <= now:
            return None
        if tag == kind | _TIMED:
            return raw[_HEAD:]
    name = Kind(tag & ~_TIMED).name.lower()
    raise WrongType(f"{shown(key)} is a {name}, no {Kind(kind).name.lower()}")


def end_of(raw: bytes) -> float | None:
    """When a record ends; None: never."""
    return _ENDS.unpack_from(raw, 1)[0] if raw[0] & _TIMED else None


def kind_of(raw: bytes) -> Kind:
    """What a record is."""
    return Kind(raw[0] & ~_TIMED)


def body_of(raw: bytes) -> bytes:
    """What a record holds, whether it has ended or not."""
    return raw[_HEAD if raw[0] & _TIMED else 1 :]


def is_live(raw: bytes | None, now: float) -> bool:
    """Whether there is a record that has not ended."""
    if raw is None:
        return False
    return not raw[0] & _TIMED or bool(_ENDS.unpack_from(raw, 1)[0] > now)


def store(
    table: Table, key: bytes, kind: int, payload: bytes, end: float | None, raw: bytes | None
) -> None:
    """Put a record in the place of ``raw``, which is what the key has now."""
    indexed = _ENDS.unpack_from(raw, 1)[1] if raw is not None and raw[0] & _TIMED else None
    if end is None:
        if indexed is not None:
            table.delete(TIMES + TIME.pack(indexed) + key)
        table.put(MAIN + key, bytes((kind,)) + payload)
        return
    if indexed is None or indexed > end:
        if indexed is not None:
            table.delete(TIMES + TIME.pack(indexed) + key)
        indexed = end
        table.put(TIMES + TIME.pack(end) + key, b"")
    table.put(MAIN + key, bytes((kind | _TIMED,)) + _ENDS.pack(end, indexed) + payload)


def reindex(table: Table, key: bytes, raw: bytes) -> None:
    """Move a record's entry in the index to its end."""
    end, indexed = _ENDS.unpack_from(raw, 1)
    table.delete(TIMES + TIME.pack(indexed) + key)
    table.put(TIMES + TIME.pack(end) + key, b"")
    table.put(MAIN + key, raw[:1] + _ENDS.pack(end, end) + raw[_HEAD:])


def erase(table: Table, key: bytes, raw: bytes) -> None:
    """Remove a record that is no collection."""
    if raw[0] & _TIMED:
        table.delete(TIMES + TIME.pack(_ENDS.unpack_from(raw, 1)[1]) + key)
    table.delete(MAIN + key)


def next_number(table: Table) -> int:
    """A number that was never given out before: an id, or a fencing token."""
    last = table.get(NUMBER)
    number = 1 if last is None else int.from_bytes(last, "big") + 1
    table.put(NUMBER, number.to_bytes(8, "big"))
    return number
