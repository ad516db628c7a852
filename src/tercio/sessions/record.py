"""What is stored of one session, and how two who changed it agree. Pure: time is an argument."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tercio.codec import decode, encode
from tercio.errors import WrongType

_log = logging.getLogger("tercio.sessions")


class Gone(Exception):
    """The session was revoked, or is over: nothing was stored."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A session as it is stored. Its values stay encoded until somebody looks."""

    values: dict[str, msgspec.Raw]
    created: float
    """Seconds since 1970; its absolute end counts from here, also after it got another id."""
    renewed: float
    """When its idle time began anew."""
    subject: str | None = None
    """Who is logged in."""
    successor: str | None = None
    """It has another id now, or another one is in its place: the key of that. What is left says
    that this one is not to be used again."""

    @property
    def is_rotated(self) -> bool:
        """Whether another one is in its place."""
        return self.successor is not None


@dataclass(frozen=True, slots=True)
class Found:
    """A session that is good."""

    record: Record
    left: float
    """Seconds until it ends when nobody comes."""
    is_renewed: bool = False
    """Its idle time began anew by this call, so that the cookie's should, too."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one request did to a session."""

    stored: dict[str, msgspec.Raw] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.stored or self.removed)

    def on(self, values: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """Key by key: what others did to other keys stays."""
        kept = {key: each for key, each in values.items() if key not in self.removed}
        return kept | self.stored


NONE = Changes()
"""Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long sessions live, in seconds."""

    idle: float
    """Without a request."""
    absolute: float
    """Since it began, whatever happens."""

    def left(self, record: Record, now: float) -> float:
        """Seconds until it is over when nobody comes; none or less: it is over."""
        return min(record.renewed + self.idle, record.created + self.absolute) - now

    def judged(self, record: Record | None, now: float) -> Found | None:
        """None if it is over, or another one is in its place."""
        if record is None or record.is_rotated:
            return None
        left = self.left(record, now)
        return Found(record, left) if left > 0 else None

    def wants_renewal(self, record: Record, now: float) -> bool:
        """Whether it is time to say that somebody came: not at each request, that would be a write
        for each read."""
        return now - record.renewed > self.idle / _RENEWALS


_RENEWALS = 20  # in one idle time


class Step:
    """An atomic change of a stored session, for `State.update`; raises `Gone` if there is none."""

    def __init__(
        self,
        lifetime: Lifetime,
        now: float,
        change: Callable[[Record], dict[str, msgspec.Raw]],
    ) -> None:
        self._lifetime = lifetime
        self._now = now
        self._change = change
        self._is_renewed = False

    def __call__(self, record: Record | None) -> Record | None:
        if record is None or self._lifetime.judged(record, self._now) is None:
            raise Gone
        values = self._change(record)
        if not values and record.subject is None:
            return None
        self._is_renewed = self._lifetime.wants_renewal(record, self._now)
        renewed = self._now if self._is_renewed else record.renewed
        return Record(values, record.created, renewed, record.subject)

    def found(self, stored: Record | None) -> Found | None:
        """What there is after it; None: nothing is left in it, so it is gone."""
        if stored is None:
            return None
        return Found(stored, self._lifetime.left(stored, self._now), self._is_renewed)


class Replacement:
    """The change of one value by a function, as a `Step` takes it."""

    def __init__(self, key: str, change: Callable[[Any], Any], default: object) -> None:
        self.new: Any = None
        self._key = checked(key)
        self._change = change
        self._default = default

    def __call__(self, record: Record) -> dict[str, msgspec.Raw]:
        body = record.values.get(self._key)
        self.new = self._change(self._default if body is None else decode(memoryview(body)))
        values = {name: each for name, each in record.values.items() if name != self._key}
        return values if self.new is None else values | {self._key: packed(self.new)}


def checked(key: object) -> str:
    """A key of a session. Raises `TypeError`: another one could be stored and never be read."""
    if not isinstance(key, str):
        raise TypeError(
            f"the key {key!r:.50} of a session: expected a str, not {type(key).__name__}"
        )
    return key


def packed(value: object) -> msgspec.Raw:
    """One value. Raises `Unencodable` or `ValueTooLarge`."""
    return msgspec.Raw(encode(value))


def unpacked(values: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """All values. One that cannot be read is left out: the others are worth more."""
    found = {}
    for key, each in values.items():
        try:
            found[key] = decode(memoryview(each))
        except WrongType as error:
            _log.warning("the value %.50r of a session is dropped: %s", key, error)
    return found
