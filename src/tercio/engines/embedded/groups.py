"""Groups: a set of members, each with an end of its own if it has one."""

from tercio.engines.embedded.collections import Collection
from tercio.engines.embedded.records import COLLECTIONS, MAIN, Kind, kind_of, payload_of
from tercio.engines.embedded.table import Table
from tercio.state.verbs import Join, Leave, Members, Size


def join(table: Table, verb: Join, now: float) -> bool:
    """See the verb."""
    group = Collection.find_or_make(table, verb.key, Kind.GROUP)
    end = group.end_of(verb.member)
    is_new = end is None or 0.0 < end <= now
    group.put(verb.member, b"", None if verb.ttl is None else now + verb.ttl)
    group.save()
    return is_new


def leave(table: Table, verb: Leave, now: float) -> bool:
    """See the verb."""
    group = Collection.find(table, verb.key, Kind.GROUP)
    end = None if group is None else group.end_of(verb.member)
    if group is None or end is None:
        return False
    group.remove(verb.member, end)
    group.save()
    return not 0.0 < end <= now


def members(table: Table, verb: Members, now: float) -> list[bytes]:
    """See the verb."""
    group = Collection.find(table, verb.key, Kind.GROUP)
    if group is None:
        return []
    return [member for member, end, _ in group.parts() if not 0.0 < end <= now]


def size(table: Table, verb: Size, now: float) -> int:
    """See the verb; queues too."""
    raw = table.get(MAIN + verb.key)
    if raw is None:
        return 0
    kind = kind_of(raw)
    if kind not in COLLECTIONS:
        payload_of(raw, verb.key, Kind.QUEUE, now)  # says what it is, or that it has ended
        return 0
    collection = Collection.find(table, verb.key, kind)
    assert collection is not None
    return collection.count - sum(1 for _ in collection.ended(now))
