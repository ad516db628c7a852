"""Put two looks at the cluster's own metrics into one line: what was done between them."""

from tercio.core.events import Statistics
from tercio.dataplane.families import Distribution, Family
from tercio.metrics import builtin
from tercio.metrics.snapshot import Snapshot


def between(before: Snapshot, after: Snapshot, seconds: float) -> Statistics:
    """What happened in ``seconds``. Both snapshots hold the metrics of a cluster."""
    durations = _durations(after).minus(_durations(before))
    requests = round(after[builtin.REQUESTS.shown_name] - before[builtin.REQUESTS.shown_name])
    return Statistics(
        seconds=seconds,
        requests=requests,
        rate=requests / seconds if seconds > 0 else 0.0,
        server_errors=round(_failed(after) - _failed(before)),
        p50=durations.quantile(0.5),
        p99=durations.quantile(0.99),
        in_flight=round(after["tercio_requests_in_flight"]),
        connections=round(after["tercio_connections"]),
        lag=_highest(after.families.get(builtin.LAG.shown_name)),
    )


def _durations(snapshot: Snapshot) -> Distribution:
    return snapshot.distribution(builtin.DURATION.shown_name)


def _failed(snapshot: Snapshot) -> float:
    return snapshot.value(builtin.REQUESTS.shown_name, status="5xx")


def _highest(family: Family | None) -> float:
    values = family.series.values() if family is not None else ()
    return max((value for value in values if isinstance(value, float)), default=0.0)
