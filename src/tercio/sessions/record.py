"""What is stored of one session, and how two who changed it agree. Pure: time is an argument."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tercio.codec import decode, encode


class Record(msgspec.Struct, array_like=True, frozen=True):
    """A session as it is stored. Its values stay encoded until somebody looks."""

    values: dict[str, msgspec.Raw]
    created: float
    """Seconds since 1970; its absolute end counts from here, also after it got another id."""
    renewed: float
    """When its idle time began anew."""
    subject: str | None = None
    """Who is logged in."""
    is_rotated: bool = False
    """It has another id now. What is left says that this one is not to be used again."""


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

    def wants_renewal(self, record: Record, now: float) -> bool:
        """Whether it is time to say that somebody came: not at each request, that would be a write
        for each read."""
        return now - record.renewed > self.idle / _RENEWALS


_RENEWALS = 20  # in one idle time


def packed(value: object) -> msgspec.Raw:
    """One value. Raises `Unencodable` or `ValueTooLarge`."""
    return msgspec.Raw(encode(value))


def unpacked(values: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """All values."""
    return {key: decode(memoryview(each)) for key, each in values.items()}
