"""Locks: an owner, a fencing token, an end."""

from tercio.engines.embedded.records import ID, MAIN, Kind, erase, next_number, payload_of, store
from tercio.engines.embedded.table import Table
from tercio.state.verbs import Acquire, Release, Renew


def acquire(table: Table, verb: Acquire, now: float) -> int | None:
    """See the verb. Tokens are numbers of the whole store, so no lock must remember its own."""
    raw = table.get(MAIN + verb.key)
    payload = payload_of(raw, verb.key, Kind.LOCK, now)
    if payload is None:
        payload = ID.pack(next_number(table)) + verb.owner
    elif payload[ID.size :] != verb.owner:
        return None
    store(table, verb.key, Kind.LOCK, payload, now + verb.ttl, raw)
    token: int = ID.unpack_from(payload)[0]
    return token


def owner(table: Table, key: bytes, now: float) -> bytes | None:
    """Who has a lock."""
    payload = payload_of(table.get(MAIN + key), key, Kind.LOCK, now)
    return None if payload is None else payload[ID.size :]


def renew(table: Table, verb: Renew, now: float) -> bool:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    payload = payload_of(raw, verb.key, Kind.LOCK, now)
    if payload is None or payload[ID.size :] != verb.owner:
        return False
    store(table, verb.key, Kind.LOCK, payload, now + verb.ttl, raw)
    return True


def release(table: Table, verb: Release, now: float) -> bool:
    """See the verb."""
    raw = table.get(MAIN + verb.key)
    payload = payload_of(raw, verb.key, Kind.LOCK, now)
    if raw is None or payload is None or payload[ID.size :] != verb.owner:
        return False
    erase(table, verb.key, raw)
    return True
