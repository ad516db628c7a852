"""Say of each worker how fast it is: what `status` tells of it, compared with the look before."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from tercio.dataplane.families import Distribution


@dataclass(frozen=True, slots=True)
class Pace:
    """Between two looks; None is not known, or of no requests at all."""

    rate: float | None = None
    """Requests that ended, a second."""
    p50: float | None = None
    """Seconds that half of them took at most."""
    p99: float | None = None
    lag: float | None = None
    """Seconds by which an event loop was late, or for which it has been blocked until now."""

    def to_fields(self) -> dict[str, float | None]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one worker had done until then."""

    at: float
    requests: float
    durations: Distribution
    lag: float | None

    def since(self, before: "_Look") -> "_Look | None":
        if self.at <= before.at or self.requests < before.requests:
            return None
        durations = self.durations.minus(before.durations)
        return _Look(self.at - before.at, self.requests - before.requests, durations, self.lag)


class Paces:
    """The pace of each worker since the look before."""

    def __init__(self) -> None:
        self._before: dict[str, _Look] = {}
        self.together = Pace()
        """Of all workers that there were at the last look and at the one before; the worst lag."""

    def look(self, status: Mapping[str, object], at: float) -> dict[str, Pace]:
        """By the name of the worker; ``at`` is when that was its status, monotonic seconds.

        What another version of Tercio leaves out is unknown.
        """
        bounds = (*_numbers(status.get("duration_bounds")), math.inf)
        workers = status.get("workers")
        now = {
            str(worker.get("worker")): look
            for worker in (workers if isinstance(workers, list) else ())
            if isinstance(worker, dict) and (look := _look(worker, bounds, at)) is not None
        }
        before, self._before = self._before, now
        done = {
            name: look.since(before[name]) if name in before else None for name, look in now.items()
        }
        self.together = _pace(_sum(filter(None, done.values())), [one.lag for one in now.values()])
        return {name: _pace(done[name], [look.lag]) for name, look in now.items()}


def _look(worker: Mapping[str, object], bounds: tuple[float, ...], at: float) -> _Look | None:
    requests, lag = worker.get("requests"), worker.get("loop_lag")
    if not isinstance(requests, int | float):
        return None
    counts = _numbers(worker.get("durations"))
    buckets = dict(zip(bounds, counts, strict=True)) if len(counts) == len(bounds) else {}
    return _Look(at, requests, Distribution(buckets), lag if isinstance(lag, int | float) else None)


def _sum(done: Iterable[_Look]) -> _Look | None:
    whole: _Look | None = None
    for one in done:
        if whole is None:
            whole = _Look(one.at, 0.0, Distribution(), None)
        buckets = {
            bound: whole.durations.buckets.get(bound, 0.0) + count
            for bound, count in one.durations.buckets.items()
        }
        whole = _Look(one.at, whole.requests + one.requests, Distribution(buckets), None)
    return whole


def _pace(done: _Look | None, lags: Iterable[float | None]) -> Pace:
    lag = max((lag for lag in lags if lag is not None), default=None)
    if done is None:
        return Pace(lag=lag)
    durations = done.durations
    return Pace(done.requests / done.at, durations.quantile(0.5), durations.quantile(0.99), lag)


def _numbers(values: object) -> list[float]:
    listed = values if isinstance(values, list) else []
    return [float(value) for value in listed if isinstance(value, int | float)]
