"""What the verbs mean, in plain Python and as simply as can be: the measure for every engine."""

import math
from collections.abc import Callable
from typing import Any

from tercio import codec
from tercio.errors import NoSuchKey, TercioError, WrongType
from tercio.state import verbs
from tercio.state.verbs import Verb, Window


class Model:
    """Dictionaries of what there is and when it ends."""

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes, float]] = {}
        self.locks: dict[bytes, tuple[bytes, float, int]] = {}
        self.hits: dict[bytes, list[float]] = {}
        self.queues: dict[bytes, list[tuple[bytes, float]]] = {}
        self.groups: dict[bytes, dict[bytes, float]] = {}
        self.token = 0

    def run(self, verb: Verb[Any], now: float) -> object:
        """The answer, or the class of the error; a lock's token counts from 1 here."""
        try:
            return STEPS[type(verb)](self, verb, now)
        except TercioError as error:
            return type(error)

    def value(self, key: bytes, now: float) -> bytes | None:
        body, end = self.values.get(key, (None, 0.0))
        return body if end > now else None

    def items(self, key: bytes, now: float) -> list[tuple[bytes, float]]:
        self.queues[key] = [item for item in self.queues.get(key, []) if item[1] > now]
        return self.queues[key]

    def members(self, key: bytes, now: float) -> dict[bytes, float]:
        self.groups[key] = {m: end for m, end in self.groups.get(key, {}).items() if end > now}
        return self.groups[key]


def _end(ttl: float | None, now: float) -> float:
    return math.inf if ttl is None else now + ttl


def _set(model: Model, verb: verbs.Set, now: float) -> bool:
    if verb.nx and model.value(verb.key, now) is not None:
        return False
    model.values[verb.key] = verb.value, _end(verb.ttl, now)
    return True


def _incr(model: Model, verb: verbs.Incr, now: float) -> int:
    body = model.value(verb.key, now)
    number = 0 if body is None else codec.decode(body)
    end = _end(verb.ttl, now) if body is None else model.values[verb.key][1]
    if type(number) is not int or not -(1 << 63) <= number + verb.by < 1 << 63:
        raise WrongType
    model.values[verb.key] = codec.encode(number + verb.by), end
    return number + verb.by


def _expire(model: Model, verb: verbs.Expire, now: float) -> bool:
    body = model.value(verb.key, now)
    if body is not None:
        model.values[verb.key] = body, _end(verb.ttl, now)
    return body is not None


def _ttl(model: Model, verb: verbs.Ttl, now: float) -> float | None:
    if model.value(verb.key, now) is None:
        raise NoSuchKey("none")
    end = model.values[verb.key][1]
    return None if end == math.inf else end - now


def _cas(model: Model, verb: verbs.CompareAndSet, now: float) -> bool:
    if model.value(verb.key, now) != verb.expected:
        return False
    if verb.value is None:
        model.values.pop(verb.key, None)
    else:
        model.values[verb.key] = verb.value, _end(verb.ttl, now)
    return True


def _delete(model: Model, verb: verbs.Delete, now: float) -> int:
    there = 0
    for key in set(verb.keys):
        there += model.value(key, now) is not None
        there += key in model.locks and model.locks[key][1] > now
        there += bool(model.items(key, now)) + bool(model.members(key, now))
        kinds: list[dict[bytes, Any]] = [model.values, model.locks, model.queues, model.groups]
        for kind in kinds:
            kind.pop(key, None)
    return there


def _scan(model: Model, verb: verbs.Scan, now: float) -> verbs.Page:
    found = sorted(key for key in model.values if key.startswith(verb.prefix))
    items = [(key, body) for key in found if (body := model.value(key, now)) is not None]
    return verbs.Page(items, None)


def _acquire(model: Model, verb: verbs.Acquire, now: float) -> int | None:
    owner, end, token = model.locks.get(verb.key, (b"", 0.0, 0))
    if end > now and owner != verb.owner:
        return None
    if end <= now:
        model.token = token = model.token + 1
    model.locks[verb.key] = verb.owner, now + verb.ttl, token
    return token


def _renew(model: Model, verb: verbs.Renew, now: float) -> bool:
    owner, end, token = model.locks.get(verb.key, (b"", 0.0, 0))
    if owner != verb.owner or end <= now:
        return False
    model.locks[verb.key] = owner, now + verb.ttl, token
    return True


def _release(model: Model, verb: verbs.Release, now: float) -> bool:
    owner, end, _ = model.locks.get(verb.key, (b"", 0.0, 0))
    if owner != verb.owner or end <= now:
        return False
    del model.locks[verb.key]
    return True


def _moving(model: Model, verb: verbs.MovingWindow, now: float) -> Window:
    hits = [hit for hit in model.hits.get(verb.key, []) if hit > now - verb.period]
    allowed = len(hits) + verb.cost <= verb.limit
    if allowed:
        hits += [now] * verb.cost
        model.hits[verb.key] = hits
    return Window(allowed, len(hits), hits[0] + verb.period - now if hits else 0.0)


def _push(model: Model, verb: verbs.Push, now: float) -> bool:
    items = model.items(verb.key, now)
    if len(items) >= verb.capacity:
        return False
    items.append((verb.item, _end(verb.ttl, now)))
    return True


def _pop(model: Model, verb: verbs.Pop, now: float) -> bytes | None:
    items = model.items(verb.key, now)
    return items.pop(0)[0] if items else None


def _put_back(model: Model, verb: verbs.PutBack, now: float) -> None:
    model.items(verb.key, now).insert(0, (verb.item, _end(verb.ttl, now)))


def _join(model: Model, verb: verbs.Join, now: float) -> bool:
    members = model.members(verb.key, now)
    is_new = verb.member not in members
    members[verb.member] = _end(verb.ttl, now)
    return is_new


def _leave(model: Model, verb: verbs.Leave, now: float) -> bool:
    return model.members(verb.key, now).pop(verb.member, None) is not None


STEPS: dict[type, Callable[[Model, Any, float], object]] = {
    verbs.Get: lambda model, verb, now: model.value(verb.key, now),
    verbs.GetMany: lambda model, verb, now: [model.value(key, now) for key in verb.keys],
    verbs.Set: _set,
    verbs.Incr: _incr,
    verbs.Expire: _expire,
    verbs.Ttl: _ttl,
    verbs.CompareAndSet: _cas,
    verbs.Delete: _delete,
    verbs.Scan: _scan,
    verbs.Acquire: _acquire,
    verbs.Renew: _renew,
    verbs.Release: _release,
    verbs.MovingWindow: _moving,
    verbs.Push: _push,
    verbs.Pop: _pop,
    verbs.PutBack: _put_back,
    verbs.Join: _join,
    verbs.Leave: _leave,
    verbs.Members: lambda model, verb, now: sorted(model.members(verb.key, now)),
    verbs.Size: lambda model, verb, now: (
        len(model.items(verb.key, now)) + len(model.members(verb.key, now))
    ),
}
