"""Queues: items in order, each with an end of its own if it has one."""

from tercio.engines.embedded.collections import Collection
from tercio.engines.embedded.records import ID, Kind
from tercio.engines.embedded.table import Table
from tercio.state.verbs import Pop, Push, PutBack


def push(table: Table, verb: Push, now: float) -> bool:
    """See the verb."""
    queue = Collection.find_or_make(table, verb.key, Kind.QUEUE)
    if queue.count >= verb.capacity:
        queue.purge(now)
        if queue.count >= verb.capacity:
            queue.save()
            return False
    part, queue.last = ID.pack(queue.last), queue.last + 1
    queue.put(part, verb.item, None if verb.ttl is None else now + verb.ttl)
    queue.save()
    return True


def pop(table: Table, verb: Pop, now: float) -> bytes | None:
    """See the verb."""
    queue = Collection.find(table, verb.key, Kind.QUEUE)
    if queue is None:
        return None
    queue.purge(now)
    part, end, item = next(queue.parts(), (b"", 0.0, b""))
    if part:
        queue.remove(part, end)
    queue.save()
    return item if part else None


def put_back(table: Table, verb: PutBack, now: float) -> None:
    """See the verb."""
    queue = Collection.find_or_make(table, verb.key, Kind.QUEUE)
    queue.first -= 1
    queue.put(ID.pack(queue.first), verb.item, None if verb.ttl is None else now + verb.ttl)
    queue.save()
