"""Two counters for a limit whose hits fade: this period's, and the one before. Pure."""

import math
from typing import Self

import msgspec


class Windows(msgspec.Struct, array_like=True, frozen=True):
    """As `limits` wants to see a sliding window: in periods that begin at multiples of theirs."""

    number: int
    """Of the period, counted from 1970."""
    hits: int
    before: int
    """Hits of the period before."""

    @classmethod
    def at(cls, now: float, period: float, stored: Self | None) -> Self:
        """What is stored as it is to be seen now."""
        number = int(now / period)
        if stored is None or number > stored.number + 1:
            return cls(number, 0, 0)
        if number == stored.number + 1:
            return cls(number, 0, stored.hits)
        return stored  # also one that is ahead: of a machine whose clock is

    def left_of_before(self, now: float, period: float) -> float:
        """Seconds in which the period before still counts: none if it had no hits."""
        return self._left(now, period) if self.before else 0.0

    def left(self, now: float, period: float) -> float:
        """Seconds in which this period counts, as the one before in the end."""
        return self._left(now, period) + period

    def hit(self, now: float, period: float, limit: int, amount: int) -> Self | None:
        """With ``amount`` more hits; None if they are too many."""
        faded = self.before * self.left_of_before(now, period) / period
        if math.floor(faded + self.hits) + amount > limit:
            return None
        return type(self)(self.number, self.hits + amount, self.before)

    def _left(self, now: float, period: float) -> float:
        return min(period, max(0.0, (self.number + 1) * period - now))
