"""Take away what was asked, and what has ended: in bounded bites, so that nobody waits long."""

from itertools import islice

from tercio.engines.embedded.collections import Collection
from tercio.engines.embedded.moving import forget_hits
from tercio.engines.embedded.records import (
    COLLECTIONS,
    GARBAGE,
    MAIN,
    PARTS,
    TIME,
    TIMES,
    end_of,
    erase,
    is_live,
    kind_of,
    reindex,
)
from tercio.engines.embedded.table import Table, starting_with
from tercio.state.verbs import Clear, Delete, Sweep


def delete(table: Table, verb: Delete, now: float) -> int:
    """See the verb."""
    return sum(_remove(table, key, now) for key in dict.fromkeys(verb.keys))


def clear(table: Table, verb: Clear, now: float) -> int:
    """See the verb."""
    keys = [key[len(MAIN) :] for key in _first(table, MAIN + verb.prefix, verb.count)]
    for key in keys:
        _remove(table, key, now)
    return len(keys)


def sweep(table: Table, verb: Sweep, now: float) -> int:
    """See the verb. Parts of what was removed come first: they are room at once."""
    removed = _sweep_garbage(table, verb.count)
    ended = [
        key[len(TIMES) + TIME.size :]
        for key in _first(table, TIMES, verb.count - removed)
        if TIME.unpack_from(key, len(TIMES))[0] <= now
    ]
    for key in ended:
        if removed >= verb.count:
            break
        removed += _sweep(table, key, now, verb.count - removed)
    # What has just ended may have left chunks.
    return removed + _sweep_garbage(table, verb.count - removed)


def _remove(table: Table, key: bytes, now: float) -> bool:
    raw = table.get(MAIN + key)
    if raw is None:
        return False
    if (kind := kind_of(raw)) in COLLECTIONS:
        collection = Collection.find(table, key, kind)
        assert collection is not None
        was_there = collection.count > sum(1 for _ in collection.ended(now))
        collection.forget()
        return was_there
    forget_hits(table, raw)
    erase(table, key, raw)
    return is_live(raw, now)


def _sweep_garbage(table: Table, most: int) -> int:
    removed = 0
    for marker in _first(table, GARBAGE, most):
        parts = _first(table, PARTS + marker[len(GARBAGE) :], most - removed)
        for part in parts:
            table.delete(part)
        removed += len(parts)
        if removed >= most:
            break  # there may be more of it
        table.delete(marker)
        removed += 1
        if removed >= most:
            break
    return removed


def _first(table: Table, prefix: bytes, most: int) -> list[bytes]:
    return [key for key, _ in islice(starting_with(table, prefix), most)]


def _sweep(table: Table, key: bytes, now: float, most: int) -> int:
    raw = table.get(MAIN + key)
    assert raw is not None, "an entry of the index has its record"
    if (kind := kind_of(raw)) in COLLECTIONS:
        collection = Collection.find(table, key, kind)
        assert collection is not None
        removed = collection.purge(now, most)
        collection.rewake()
        collection.save()
        return max(removed, 1)
    end = end_of(raw)
    if end is not None and end > now:
        reindex(table, key, raw)
        return 1
    forget_hits(table, raw)
    erase(table, key, raw)
    return 1
