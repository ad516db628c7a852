"""What each verb is in Redis: a command or a script, and how its reply is read. Sends nothing.

Verbs that take several commands (a scan, a clear, the fill) are in `state`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast

from tercio.engines.redis import scripts
from tercio.engines.redis.scripts import Script
from tercio.engines.redis.values import from_stored, to_stored
from tercio.engines.redis.wire import Argument, Reply
from tercio.errors import NoSuchKey
from tercio.state import verbs
from tercio.state.verbs import Verb, Window

V = TypeVar("V")

Command: TypeAlias = tuple[Argument, ...]

_FOREVER: Final = 1 << 50  # milliseconds: what is more overflows in the server


@dataclass(frozen=True, slots=True)
class Names:
    """What keys are called in Redis, under one prefix."""

    data: bytes
    aside: bytes
    token: bytes
    channel: bytes

    @classmethod
    def under(cls, prefix: str) -> "Names":
        """The names of one cluster. No prefix may begin with another one."""
        base = prefix.encode()
        return cls(base + b"s:", base + b"x:", base + b"token", base + b"bus")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a verb is carried out."""

    command: Callable[[Names, Any], Command]
    read: Callable[[Any], Any]
    script: Script | None = None
    """The command is the keys and arguments of this script then, after their number."""


def milliseconds(ttl: float) -> int:
    """For PX: at least one, rounded up, so that nothing ends too early."""
    return min(_FOREVER, max(1, math.ceil(ttl * 1000))) if ttl < _FOREVER else _FOREVER


def _or_nothing(ttl: float | None) -> Argument:
    return b"" if ttl is None else milliseconds(ttl)


def _value(reply: bytes | None) -> bytes | None:
    return None if reply is None else from_stored(reply)


def _values(reply: list[bytes | None]) -> list[bytes | None]:
    return [_value(one) for one in reply]


def _set(names: Names, verb: verbs.Set) -> Command:
    command: list[Argument] = [b"SET", names.data + verb.key, to_stored(verb.value)]
    if verb.ttl is not None:
        command += (b"PX", milliseconds(verb.ttl))
    if verb.nx:
        command.append(b"NX")
    return tuple(command)


def _ttl(reply: int) -> float | None:
    if reply == -2:
        raise NoSuchKey("there is no such key, or it has expired")
    return None if reply == -1 else reply / 1000


def _compare(names: Names, verb: verbs.CompareAndSet) -> Command:
    return (
        1,
        names.data + verb.key,
        0 if verb.expected is None else 1,
        b"" if verb.expected is None else to_stored(verb.expected),
        0 if verb.value is None else 1,
        b"" if verb.value is None else to_stored(verb.value),
        _or_nothing(verb.ttl),
    )


def _window(reply: list[int]) -> Window:
    return Window(bool(reply[0]), reply[1], reply[2] / 1e6)


def _limit(
    names: Names, verb: verbs.FixedWindow | verbs.MovingWindow | verbs.SlidingWindow
) -> Command:
    period = max(1, round(verb.period * 1e6))
    return (1, names.data + verb.key, verb.limit, period, verb.cost)


def _queue(names: Names, key: bytes) -> Command:
    return (2, names.data + key, names.aside + key)


def _many(keys: tuple[bytes, ...], names: Names) -> Command:
    return tuple(names.data + key for key in keys)


def _whole(reply: bytes | None) -> int | None:
    return None if reply is None else int(reply)


def _nothing(reply: Reply) -> None:
    return None


def _as_it_is(reply: Reply) -> Reply:
    return reply


_PLANS: Final[dict[type[Verb[Any]], Plan]] = {
    verbs.Get: Plan(lambda n, v: (b"GET", n.data + v.key), _value),
    verbs.GetMany: Plan(lambda n, v: (b"MGET", *_many(v.keys, n)), _values),
    verbs.Set: Plan(_set, lambda reply: reply is not None),
    verbs.Delete: Plan(lambda n, v: (b"UNLINK", *_many(v.keys, n)), int),
    verbs.Incr: Plan(lambda n, v: (b"INCRBY", n.data + v.key, v.by), int),
    verbs.Expire: Plan(lambda n, v: (1, n.data + v.key, _or_nothing(v.ttl)), bool, scripts.EXPIRE),
    verbs.Ttl: Plan(lambda n, v: (1, n.data + v.key), _ttl, scripts.TTL),
    verbs.CompareAndSet: Plan(_compare, bool, scripts.COMPARE_AND_SET),
    verbs.Acquire: Plan(
        lambda n, v: (2, n.data + v.key, n.token, v.owner, milliseconds(v.ttl)),
        _whole,
        scripts.ACQUIRE,
    ),
    verbs.Renew: Plan(
        lambda n, v: (1, n.data + v.key, v.owner, milliseconds(v.ttl)), bool, scripts.RENEW
    ),
    verbs.Release: Plan(lambda n, v: (1, n.data + v.key, v.owner), bool, scripts.RELEASE),
    verbs.FixedWindow: Plan(_limit, _window, scripts.FIXED_WINDOW),
    verbs.MovingWindow: Plan(_limit, _window, scripts.MOVING_WINDOW),
    verbs.SlidingWindow: Plan(_limit, _window, scripts.SLIDING_WINDOW),
    verbs.Push: Plan(
        lambda n, v: (*_queue(n, v.key), v.item, _or_nothing(v.ttl), v.capacity),
        bool,
        scripts.PUSH,
    ),
    verbs.Pop: Plan(lambda n, v: _queue(n, v.key), _as_it_is, scripts.POP),
    verbs.PutBack: Plan(
        lambda n, v: (*_queue(n, v.key), v.item, _or_nothing(v.ttl)), _nothing, scripts.PUT_BACK
    ),
    verbs.Size: Plan(lambda n, v: _queue(n, v.key), int, scripts.SIZE),
    verbs.Join: Plan(
        lambda n, v: (1, n.data + v.key, v.member, _or_nothing(v.ttl)), bool, scripts.JOIN
    ),
    verbs.Leave: Plan(lambda n, v: (1, n.data + v.key, v.member), bool, scripts.LEAVE),
    verbs.Members: Plan(lambda n, v: (1, n.data + v.key), sorted, scripts.MEMBERS),
}

_INCR_TTL: Final = Plan(
    lambda n, v: (1, n.data + v.key, v.by, milliseconds(v.ttl)), int, scripts.INCR
)


def plan_of(verb: Verb[V]) -> Plan:
    """How a verb that takes one command is carried out."""
    if type(verb) is verbs.Incr and verb.ttl is not None:
        return _INCR_TTL
    return _PLANS[type(verb)]


def escaped(prefix: bytes) -> bytes:
    """A prefix as a glob that matches nothing but itself."""
    special = cast("set[int]", set(b"*?[]\\^-"))
    return b"".join(b"\\%c" % byte if byte in special else b"%c" % byte for byte in prefix)
