"""Which keys there are, which one signs, and when the next one does. Pure: time is an argument.

A key is published first, signs from ``signs_from`` on, and is retired when the next one signs. Its
state is not kept, it follows from the times: so all workers change keys in the same moment without
telling each other.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from tercio.jwt.claims import MOST_LEEWAY

Jwk = dict[str, str]


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key as the ring keeps it."""

    id: str
    algorithm: str
    """The one that it is used with, whatever a token says."""
    jwk: Jwk
    signs_from: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys, in the order in which they sign."""

    keys: tuple[RingKey, ...] = ()

    def active(self, now: float) -> RingKey | None:
        """The one that signs."""
        signing = [key for key in self.keys if key.signs_from <= now]
        # A clock that was set back leaves none: then the oldest one signs.
        return signing[-1] if signing else next(iter(self.keys), None)

    def next(self, now: float) -> RingKey | None:
        """The one that is published and does not sign yet."""
        return next((key for key in self.keys if key.signs_from > now), None)

    def is_due(self, now: float, every: float | None, propagation: float) -> bool:
        """Whether the next key is to be published."""
        active = self.active(now)
        if active is None:
            return True
        if every is None or self.next(now) is not None:
            return False
        return now >= active.signs_from + every - propagation

    def good(self, now: float, longest: float) -> tuple[RingKey, ...]:
        """Those that verify: all but the ones whose last tokens have expired.

        ``longest``: seconds that a token lives at most.
        """
        retired = {old.id: after.signs_from for old, after in pairwise(self.keys)}
        spared = longest + 2 * MOST_LEEWAY  # a worker's clock may be late, and so its last token
        return tuple(key for key in self.keys if now <= retired.get(key.id, now) + spared)

    def with_next(self, key: RingKey, now: float, longest: float) -> "Ring":
        """With a next key, and without those that are not `good`."""
        return Ring((*self.good(now, longest), key))

    def only(self, key: RingKey, now: float) -> "Ring":
        """With nothing but this key, which signs at once."""
        return Ring((replace(key, signs_from=now),))
