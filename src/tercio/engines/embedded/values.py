"""Values: get, set, count, compare, scan."""

from typing import Final

from tercio import codec
from tercio.engines.embedded.records import (
    MAIN,
    Kind,
    end_of,
    erase,
    is_live,
    payload_of,
    store,
)
from tercio.engines.embedded.table import Table, starting_with
from tercio.errors import NoSuchKey, WrongType
from tercio.state.keys import shown
from tercio.state.verbs import (
    CompareAndSet,
    Expire,
    Get,
    GetMany,
    Incr,
    Page,
    Scan,
    Set,
    Ttl,
)

_VALUE: Final = int(Kind.VALUE)
_LARGEST: Final = (1 << 63) - 1
_SMALLEST: Final = -(1 << 63)
_PAGE_BYTES: Final = 1 << 20


def get(table: Table, verb: Get, now: float) -> bytes | None:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    if raw is not None and raw[0] == _VALUE:  # what nearly all are
        return raw[1:]
    return payload_of(raw, verb.key, _VALUE, now)


def get_many(table: Table, verb: GetMany, now: float) -> list[bytes | None]:
    """See the verb."""
    return [payload_of(table.get(MAIN + key), key, _VALUE, now) for key in verb.keys]


def set_value(table: Table, verb: Set, now: float) -> bool:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    if payload_of(raw, verb.key, _VALUE, now) is not None and verb.nx:
        return False
    store(table, verb.key, _VALUE, verb.value, _end(verb.ttl, now), raw)
    return True


def incr(table: Table, verb: Incr, now: float) -> int:
    """See the verb. The sum lies there as any whole number, so `get` answers it."""
    raw = table.get(MAIN + verb.key)
    body = payload_of(raw, verb.key, _VALUE, now)
    if body is None:
        number, end = 0, _end(verb.ttl, now)
    else:
        value, end = codec.decode(body), end_of(raw) if raw else None
        if type(value) is not int:
            raise WrongType(f"{shown(verb.key)} holds a {type(value).__name__}, no whole number")
        number = value
    number += verb.by
    if not _SMALLEST <= number <= _LARGEST:
        raise WrongType(f"{shown(verb.key)} would leave 64 bits")
    store(table, verb.key, _VALUE, codec.encode(number), end, raw)
    return number


def expire(table: Table, verb: Expire, now: float) -> bool:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    body = payload_of(raw, verb.key, _VALUE, now)
    if body is None:
        return False
    store(table, verb.key, _VALUE, body, _end(verb.ttl, now), raw)
    return True


def ttl(table: Table, verb: Ttl, now: float) -> float | None:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    if raw is None or payload_of(raw, verb.key, _VALUE, now) is None:
        raise NoSuchKey(f"there is no {shown(verb.key)}, or it has expired")
    end = end_of(raw)
    return None if end is None else end - now


def compare_and_set(table: Table, verb: CompareAndSet, now: float) -> bool:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    if payload_of(raw, verb.key, _VALUE, now) != verb.expected:
        return False
    if verb.value is not None:
        store(table, verb.key, _VALUE, verb.value, _end(verb.ttl, now), raw)
    elif raw is not None:
        erase(table, verb.key, raw)
    return True


def scan(table: Table, verb: Scan, now: float) -> Page:
    """See the verb. What is looked at is bounded, not what is found."""
    items: list[tuple[bytes, bytes]] = []
    size = 0
    start = MAIN + verb.prefix if verb.cursor is None else MAIN + verb.cursor + b"\0"
    found = starting_with(table, MAIN + verb.prefix, start)
    for looked_at, (key, raw) in enumerate(found, 1):
        if raw[0] & 0x7F == _VALUE and is_live(raw, now):
            value = payload_of(raw, key, _VALUE, now)
            assert value is not None
            items.append((key[1:], value))
            size += len(value)
        if looked_at >= verb.count or size >= _PAGE_BYTES:
            return Page(items, key[1:])
    return Page(items, None)


def _end(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl
