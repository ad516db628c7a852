"""Which step carries out which verb, and what each needs."""

from collections.abc import Callable
from typing import Any, Final

from tercio.engines.embedded import groups, locks, moving, queues, removal, values, windows
from tercio.engines.embedded.table import Table
from tercio.state import verbs

AnyStep = Callable[[Table, Any, float], Any]

READS: Final[dict[type, AnyStep]] = {
    verbs.Get: values.get,
    verbs.GetMany: values.get_many,
    verbs.Ttl: values.ttl,
    verbs.Scan: values.scan,
    verbs.Size: groups.size,
    verbs.Members: groups.members,
}
"""These only look."""

WRITES: Final[dict[type, AnyStep]] = {
    verbs.Set: values.set_value,
    verbs.Incr: values.incr,
    verbs.Expire: values.expire,
    verbs.CompareAndSet: values.compare_and_set,
    verbs.Delete: removal.delete,
    verbs.Clear: removal.clear,
    verbs.Sweep: removal.sweep,
    verbs.Acquire: locks.acquire,
    verbs.Renew: locks.renew,
    verbs.Release: locks.release,
    verbs.FixedWindow: windows.fixed,
    verbs.SlidingWindow: windows.sliding,
    verbs.MovingWindow: moving.moving,
    verbs.Push: queues.push,
    verbs.Pop: queues.pop,
    verbs.PutBack: queues.put_back,
    verbs.Join: groups.join,
    verbs.Leave: groups.leave,
}
"""These change something, or may."""

SHRINKING: Final = frozenset(
    {verbs.Delete, verbs.Clear, verbs.Sweep, verbs.Release, verbs.Renew, verbs.Pop, verbs.Leave}
)
"""A full store takes these: they make room, or take none."""


def shrinks(verb: object) -> bool:
    """Whether a full store takes this verb."""
    if type(verb) is verbs.CompareAndSet:
        return verb.value is None
    return type(verb) in SHRINKING


def size_of(verb: object) -> int:
    """Bytes of the value that a verb carries."""
    match verb:
        case verbs.Set():
            return len(verb.value)
        case verbs.CompareAndSet():
            return len(verb.value or b"")
        case verbs.Push() | verbs.PutBack():
            return len(verb.item)
        case _:
            return 0
