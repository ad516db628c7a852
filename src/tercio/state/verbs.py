"""What can be asked of a state engine, as data: each verb says its arguments and its answer.

A verb is one atomic step on every engine. Keys are whole keys (kind, namespace and name, see
`keys`), values are encoded (see `tercio.codec`), times are seconds. The embedded engines carry
verbs out in `engines.embedded.steps`, Redis in scripts; what needs several steps or waiting (a
lock that is taken, a queue that is empty) is built from verbs in `state`.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Verb(Generic[R_co]):
    """One atomic step with an answer of type ``R_co``."""

    __slots__ = ()


@dataclass(slots=True)
class Get(Verb[bytes | None]):
    """The value, None if there is none or it has expired."""

    key: bytes


@dataclass(slots=True)
class GetMany(Verb[list[bytes | None]]):
    """Several values of one moment."""

    keys: tuple[bytes, ...]


@dataclass(slots=True)
class Set(Verb[bool]):
    """Store a value; with ``nx`` only if there is none. The answer: whether it was stored.

    ``ttl`` None: it stays. A value that is replaced loses its own time to live.
    """

    key: bytes
    value: bytes
    ttl: float | None = None
    nx: bool = False


@dataclass(slots=True)
class Delete(Verb[int]):
    """Remove keys; the answer is how many there were."""

    keys: tuple[bytes, ...]


@dataclass(slots=True)
class Incr(Verb[int]):
    """Add to a whole number (0 if there is none) and answer the sum.

    ``ttl`` is set only when this call makes the key, so a window of counting ends by itself.
    Raises `WrongType` for what is no whole number, or when the sum leaves 64 bits.
    """

    key: bytes
    by: int = 1
    ttl: float | None = None


@dataclass(slots=True)
class Expire(Verb[bool]):
    """Give a value a new time to live, None for ever. The answer: whether there is such a key."""

    key: bytes
    ttl: float | None


@dataclass(slots=True)
class Ttl(Verb[float | None]):
    """Seconds left; None if the key has no end. Raises `NoSuchKey`."""

    key: bytes


@dataclass(slots=True)
class CompareAndSet(Verb[bool]):
    """Store ``value`` if what is there is ``expected`` (None: nothing is there).

    ``value`` None removes the key. Compared are the encoded bytes.
    """

    key: bytes
    expected: bytes | None
    value: bytes | None
    ttl: float | None = None


class Page(NamedTuple):
    """Part of a scan. ``cursor`` None: that was all."""

    items: list[tuple[bytes, bytes]]
    cursor: bytes | None


@dataclass(slots=True)
class Scan(Verb[Page]):
    """Keys that begin with ``prefix`` and their values, some ``count`` at a time.

    What is there during the whole scan is seen at least once; Redis may repeat one.
    """

    prefix: bytes
    cursor: bytes | None = None
    count: int = 100


@dataclass(slots=True)
class Clear(Verb[int]):
    """Remove at most ``count`` keys of any kind that begin with ``prefix``.

    The answer is how many, those that had expired included. Fewer than ``count``: that was all.
    Redis removes all of them, a page at a time.
    """

    prefix: bytes
    count: int = 1000


@dataclass(slots=True)
class Sweep(Verb[int]):
    """Take away what has expired, in at most ``count`` small actions; the answer is how many.

    Fewer than ``count``: that was all. Redis does it by itself.
    """

    count: int = 1000


@dataclass(slots=True)
class Acquire(Verb[int | None]):
    """Take a lock for ``ttl`` seconds. The answer: a fencing token, or None if it is taken.

    Tokens of one lock only ever grow, over releases, expiries and restarts of what persists.
    Who has it already, by ``owner``, gets the token it has and a new time to live.
    """

    key: bytes
    owner: bytes
    ttl: float


@dataclass(slots=True)
class Renew(Verb[bool]):
    """Hold a lock for ``ttl`` more seconds. False: it is not ours any more."""

    key: bytes
    owner: bytes
    ttl: float


@dataclass(slots=True)
class Release(Verb[bool]):
    """Let a lock go. False: it was not ours any more."""

    key: bytes
    owner: bytes


class Window(NamedTuple):
    """What a rate limit says."""

    allowed: bool
    hits: int
    """Hits in the window, this one included if it was allowed."""
    reset_after: float
    """Seconds until room is made: the window's end, or the oldest hit's."""


@dataclass(slots=True)
class FixedWindow(Verb[Window]):
    """Count ``cost`` hits in windows that begin at whole multiples of ``period``."""

    key: bytes
    limit: int
    period: float
    cost: int = 1


@dataclass(slots=True)
class MovingWindow(Verb[Window]):
    """Count hits in the ``period`` before now, exactly: every hit's time is kept."""

    key: bytes
    limit: int
    period: float
    cost: int = 1


@dataclass(slots=True)
class SlidingWindow(Verb[Window]):
    """As `MovingWindow` from two counters: the last window's hits fade in proportion."""

    key: bytes
    limit: int
    period: float
    cost: int = 1


@dataclass(slots=True)
class Push(Verb[bool]):
    """Append to a queue. False: it holds ``capacity`` items already."""

    key: bytes
    item: bytes
    capacity: int
    ttl: float | None = None


@dataclass(slots=True)
class Pop(Verb[bytes | None]):
    """Take the oldest item that has not expired; None if there is none."""

    key: bytes


@dataclass(slots=True)
class PutBack(Verb[None]):
    """Make an item that was taken, and not used, the oldest again. No capacity stops it.

    ``ttl`` begins anew: what it had left went with the item.
    """

    key: bytes
    item: bytes
    ttl: float | None = None


@dataclass(slots=True)
class Size(Verb[int]):
    """How many items a queue holds, or members a group has."""

    key: bytes


@dataclass(slots=True)
class Join(Verb[bool]):
    """Put a member into a group, or renew it. True: it is new."""

    key: bytes
    member: bytes
    ttl: float | None = None


@dataclass(slots=True)
class Leave(Verb[bool]):
    """Take a member out of a group. True: it was in it."""

    key: bytes
    member: bytes


@dataclass(slots=True)
class Members(Verb[list[bytes]]):
    """The members of a group that have not expired, in the order of their bytes."""

    key: bytes


class Fill(NamedTuple):
    """How full a store is, in bytes; ``limit`` 0 if nobody knows one."""

    used: int
    limit: int
    keys: int


@dataclass(slots=True)
class Measure(Verb[Fill]):
    """How full the store is."""
