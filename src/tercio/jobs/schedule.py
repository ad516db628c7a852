"""When a job is due, and what becomes of a run that was missed. Pure: time is an argument.

Due times are fixed points of the clock that everybody computes alike, whoever runs the jobs and
whenever that one began; so it is enough to remember the last of them. All times are Unix seconds.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tercio.errors import ConfigError

SKEW: Final = 3600.0
"""Seconds that the clocks of two machines may differ; a time beyond that was a wrong clock's."""

SHORTEST: Final = 0.05
"""Seconds between two runs of a job, at least."""

_FIRST_SPAN: Final = 60.0  # seconds to look back in, then eight times as many, and so on


class Schedule(Protocol):
    """Points of the clock."""

    @property
    def text(self) -> str:
        """What it says, in a line; another text is another schedule."""
        ...

    def after(self, time: float) -> float:
        """The first point later than ``time``; infinity if there is none."""
        ...

    def latest(self, after: float, until: float) -> float | None:
        """The last point that is later than ``after`` and not later than ``until``."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """The multiples of a period, counted from 1970 on."""

    period: float

    @property
    def text(self) -> str:
        """As it was asked for."""
        return f"every {self.period:g} s"

    def after(self, time: float) -> float:
        """See `Schedule`."""
        number = math.floor(time / self.period)
        while number * self.period <= time:  # not simply + 1: a quotient of floats is rounded
            number += 1
        return number * self.period

    def latest(self, after: float, until: float) -> float | None:
        """See `Schedule`."""
        number = math.floor(until / self.period) + 1
        while number * self.period > until:
            number -= 1
        point = number * self.period
        return point if point > after else None


@dataclass(frozen=True, slots=True)
class Cron:
    """The times that a cron expression names, in a time zone."""

    expression: str
    zone: str = "UTC"

    @property
    def text(self) -> str:
        """As it was asked for."""
        return f"{self.expression} ({self.zone})"

    @classmethod
    def parse(cls, expression: str, zone: str) -> "Cron":
        """Raises `ConfigError` for what is no expression, no zone, or never comes."""
        if not isinstance(expression, str):
            raise ConfigError(f'cron takes an expression such as "0 3 * * *", not {expression!r}')
        found = cls(" ".join(expression.split()), zone)
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, LookupError, TypeError):
            raise ConfigError(
                f"tz={zone!r} is no time zone that this machine knows; names are those of IANA, "
                'such as "Europe/Berlin" (where the system has none, install tzdata)'
            ) from None
        try:
            comes = found.after(0.0)
        except CronSimError as error:
            raise ConfigError(f"cron({expression!r}) cannot be understood: {error}") from None
        if comes == math.inf:
            raise ConfigError(f"cron({expression!r}): that time never comes")
        return found

    def after(self, time: float) -> float:
        """See `Schedule`."""
        return next(self._from(time), math.inf)

    def latest(self, after: float, until: float) -> float | None:
        """See `Schedule`."""
        span = _FIRST_SPAN
        while True:
            begin, found = max(after, until - span), None
            for point in self._from(begin):
                if point > until:
                    break
                found = point
            if found is not None or begin == after:
                return found
            span *= 8

    def _from(self, time: float) -> Iterator[float]:
        zone: tzinfo = UTC if self.zone == "UTC" else ZoneInfo(self.zone)
        for local in CronSim(self.expression, datetime.fromtimestamp(time, zone)):
            # In the hour that comes twice CronSim may begin with what has passed already.
            if (point := local.timestamp()) > time:
                yield point
                time = point


@dataclass(frozen=True, slots=True)
class Once:
    """One run in the life of the state, or one for each key."""

    key: str = ""

    @property
    def text(self) -> str:
        """As it was asked for."""
        return f"once, {self.key}" if self.key else "once"

    def after(self, time: float) -> float:
        """Never: it is due where none was finished, not at a time."""
        return math.inf

    def latest(self, after: float, until: float) -> float | None:
        """See `after`."""
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a job now."""

    due: float | None
    """The time for which a run is to begin now."""
    missed: float | None
    """The time of a run that was missed, and is too late to be made up for."""
    wake: float
    """When to look again."""


def plan(
    schedule: Schedule,
    seen: float,
    now: float,
    *,
    since: float,
    misfire: float,
    jitter: float = 0.0,
    name: str = "",
) -> Plan:
    """Judge the last due time after ``seen``; those before it are made up for by the same run.

    ``since`` is when we began to watch: what became due later was not missed, however late it is.
    What became due earlier counts if it is at most ``misfire`` seconds late.
    """
    if seen > now + SKEW:
        seen = now
    point = schedule.latest(seen, now)
    following = schedule.after(now)
    wake = following + offset(name, following, jitter)
    if point is None:
        return Plan(None, None, wake)
    if point < since and point + misfire + jitter < now:
        return Plan(None, point, wake)
    begin = point + offset(name, point, jitter)
    return Plan(None, None, min(begin, wake)) if begin > now else Plan(point, None, wake)


def offset(name: str, point: float, jitter: float) -> float:
    """How much later than due a run begins: the same for everybody, and another each time."""
    if not jitter or point == math.inf:
        return 0.0
    return jitter * zlib.crc32(f"{name} {point!r}".encode()) / 2**32
