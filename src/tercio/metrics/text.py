"""Write metrics in Prometheus' text format, by its own library."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tercio.dataplane.families import Distribution, Family, Labels
from tercio.metrics.snapshot import Snapshot

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of the answer to a scrape."""


class SnapshotCollector(Collector):
    """A snapshot as prometheus_client's registries take it."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for labels, value in family.series.items():
                _add(metric, labels, value)
            yield metric


def text_of(snapshot: Snapshot) -> str:
    """The text of a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot.families.values()))
    return generate_latest(registry).decode()


def _add(metric: Metric, labels: Labels, value: float | Distribution) -> None:
    named = dict(labels)
    if not isinstance(value, Distribution):
        suffix = "_total" if metric.type == "counter" else ""
        metric.add_sample(metric.name + suffix, named, value)
        return
    if metric.type == "histogram":
        for bound, count in value.cumulative():
            shown: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            metric.add_sample(f"{metric.name}_bucket", {**named, "le": shown}, count)
    metric.add_sample(f"{metric.name}_count", named, value.count)
    metric.add_sample(f"{metric.name}_sum", named, value.sum)
