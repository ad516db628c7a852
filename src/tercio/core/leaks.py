"""Decide from samples of a worker's own memory whether it leaks. Pure.

It judges private memory (USS), never the interpreter's heap and never shared pages. One sample
proves nothing: a limit must be passed twice in a row, and a trend needs a whole window.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tercio.core.policy import Policy

_BUCKETS: Final = 10
_LEAST_GROWTH_BYTES: Final = 16 << 20
_LEAST_GROWTH_RATIO: Final = 0.2
_SAMPLES_OVER_LIMIT: Final = 2
_GROWTH_OF_A_LEAK: Final = 1.2
"""A worker that is over the limit when it is fresh leaks only if it grows by this."""


@dataclass(slots=True)
class MemoryHistory:
    """What one worker used, oldest first. At most `_BUCKETS` minima are kept, whatever the rate."""

    bucket_minima: deque[tuple[int, int]] = field(
        default_factory=lambda: deque(maxlen=_BUCKETS + 1)
    )
    samples_over_limit: int = 0
    fresh: int | None = None  # what it took before its first request: a successor takes as much
    newest: int = 0
    is_told: bool = False  # that its limit is less than it takes when it is fresh

    def observe(
        self, now: float, used_bytes: int, policy: Policy, allowance: float = 1.0
    ) -> str | None:
        """Take a sample; return why the worker should be replaced, if it should.

        ``allowance`` is the part of the limit that this worker may use: its jitter.
        """
        self.newest = used_bytes
        if self.fresh is None:
            self.fresh = used_bytes
        over = self._over_limit(used_bytes, policy, allowance)
        return over or self._growing(now, used_bytes, policy)

    def _over_limit(self, used_bytes: int, policy: Policy, allowance: float) -> str | None:
        grown = int((self.fresh or 0) * _GROWTH_OF_A_LEAK)
        if self.is_over_when_fresh(policy):
            # Its successor would be over the limit as well, and the next one.
            least = grown
        else:
            # The same below the limit: jitter must not replace a worker that only is what it was.
            least = max(int(policy.limit_memory * allowance), min(policy.limit_memory, grown))
        if not least or used_bytes <= least:
            self.samples_over_limit = 0
            return None
        self.samples_over_limit += 1
        if self.samples_over_limit < _SAMPLES_OVER_LIMIT:
            return None
        what = "over" if used_bytes > policy.limit_memory else "within its jitter of"
        return (
            f"memory {megabytes(used_bytes)} is {what} the limit of "
            f"{megabytes(policy.limit_memory)} (--limit-max-memory)"
        )

    def is_over_when_fresh(self, policy: Policy) -> bool:
        """Whether a replacement would be over the limit from its start."""
        return 0 < policy.limit_memory < (self.fresh or 0)

    def _growing(self, now: float, used_bytes: int, policy: Policy) -> str | None:
        """A leak is what never comes back down: the minimum of each tenth of the window rises."""
        if not policy.leak_window:
            return None
        number = int(now / (policy.leak_window / _BUCKETS))
        if self.bucket_minima and self.bucket_minima[-1][0] == number:
            least = min(self.bucket_minima[-1][1], used_bytes)
            self.bucket_minima[-1] = (number, least)
        else:
            self.bucket_minima.append((number, used_bytes))
        if len(self.bucket_minima) <= _BUCKETS:
            return None
        minima = [least for _, least in self.bucket_minima]
        if any(later <= earlier for earlier, later in pairwise(minima)):
            return None
        growth = minima[-1] - minima[0]
        if growth < max(_LEAST_GROWTH_BYTES, minima[0] * _LEAST_GROWTH_RATIO):
            return None
        # More than the window when samples are rarer than its tenths.
        tenths = self.bucket_minima[-1][0] - self.bucket_minima[0][0]
        seconds = tenths * policy.leak_window / _BUCKETS
        return (
            f"memory grew by {megabytes(growth)} to {megabytes(minima[-1])} "
            f"in {seconds:.0f} s without ever falling (--leak-window)"
        )


def megabytes(amount_bytes: int) -> str:
    """``amount_bytes`` for people."""
    return f"{amount_bytes / 1e6:.0f} MB"
