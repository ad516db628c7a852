"""Decide when a dead worker comes back. Pure: time and chance are arguments.

A slot whose worker dies early backs off by itself; the breaker counts such deaths over the whole
cluster and, once open, lets one slot try at a time. Nothing here ever stops a living worker: the
textbook rule "more than five restarts in a minute: exit" turns six killed workers of eight into
a total outage.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tercio.core.policy import Policy

Draw = Callable[[], float]
"""A random number in [0, 1), given by the caller."""


def back_off(failures: int, policy: Policy, draw: Draw) -> float:
    """Seconds until the next try after ``failures`` early deaths in a row.

    Exponential, so that a broken app costs little; with jitter, so that slots that died together
    do not come back together.
    """
    exponent = min(
        max(failures - 1, 0), 40
    )  # 2.0**1024 would overflow, and the cap is long reached
    delay = min(policy.backoff_cap, policy.backoff_base * 2.0**exponent)
    return delay * (policy.backoff_jitter + (1.0 - policy.backoff_jitter) * draw())


@dataclass(slots=True)
class Breaker:
    """Early deaths of the last minute over all slots, and what follows from them."""

    deaths: deque[float] = field(default_factory=deque)
    opened_at: float | None = None
    next_probe: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None

    def record(self, now: float, policy: Policy, target: int) -> bool:
        """Count an early death; return whether it opened the breaker."""
        self.deaths.append(now)
        while self.deaths and self.deaths[0] < now - policy.breaker_window:
            self.deaths.popleft()
        if self.is_open or len(self.deaths) < policy.deaths_allowed(target):
            return False
        self.opened_at = now
        self.next_probe = now + policy.probe_interval
        return True

    def probe(self, now: float, policy: Policy) -> None:
        """Note that one slot tries; the others wait for the next turn."""
        self.next_probe = now + policy.probe_interval

    def close(self) -> None:
        """Forget everything: a probe stayed ready, or a person asked for a reload."""
        self.deaths.clear()
        self.opened_at = None
