"""Add up the series of several processes: counts are summed, gauges go by their mode."""

import math
from dataclasses import dataclass, field

from tercio.dataplane.directory import Series
from tercio.dataplane.families import Family, Labels, family_name, labels_of
from tercio.dataplane.region import Cells


@dataclass(slots=True)
class Reading:
    """All series at one moment, added up."""

    families: dict[str, Family] = field(default_factory=dict)
    dropped: int = 0
    """Series that found no room, or whose name stands for a metric of another kind."""
    torn: int = 0
    """Entries that could not be read."""
    stamps: dict[tuple[str, Labels], float] = field(default_factory=dict)
    """When gauges of the mode "mostrecent" were set."""


def add(
    reading: Reading,
    series: Series,
    cells: Cells,
    pid: int,
) -> None:
    """Add a series of process ``pid`` whose values lie in ``cells``."""
    declaration, first = series.declaration, series.first
    name = family_name(declaration.kind, declaration.name)
    family = reading.families.get(name)
    if family is None:
        family = Family(declaration.kind, name, declaration.help)
        reading.families[name] = family
    elif family.kind != declaration.kind:
        reading.dropped += 1  # two releases, or two libraries, mean different things by it
        return
    pairs = zip(declaration.labels, series.values, strict=True)
    if declaration.kind == "counter":
        labels = labels_of(pairs)
        before = family.series.get(labels, 0.0)
        assert isinstance(before, float)
        family.series[labels] = before + sound(cells[first])
    elif declaration.kind == "gauge":
        _add_gauge(family, series, cells, pid, reading.stamps)
    elif declaration.bounds:
        distribution = family.distribution(labels_of(pairs))
        counts = cells[first : first + len(declaration.bounds) + 1].tolist()
        for bound, count in zip((*declaration.bounds, math.inf), counts, strict=True):
            distribution.buckets[bound] = distribution.buckets.get(bound, 0.0) + sound(count)
        distribution.sum += _finite(cells[first + len(counts)])
    else:
        _add_part(family, series, cells[first])


def _add_gauge(
    family: Family,
    series: Series,
    cells: Cells,
    pid: int,
    stamps: dict[tuple[str, Labels], float],
) -> None:
    declaration, first = series.declaration, series.first
    values = list(cells[first : first + declaration.slots])
    pairs = list(zip(declaration.labels, series.values, strict=True))
    mode = declaration.mode
    if mode in ("all", "liveall", ""):
        pairs.append(("pid", str(pid)))
    labels = labels_of(pairs)
    if math.isnan(values[0]) or (mode.endswith("mostrecent") and not values[1]):
        return
    before = family.series.get(labels)
    if isinstance(before, float):
        stamp = stamps.get((family.name, labels), 0.0)
        values = together(mode, [before, stamp], values)
    family.series[labels] = values[0]
    stamps[family.name, labels] = values[-1]


def _add_part(family: Family, series: Series, value: float) -> None:
    """prometheus_client keeps a value for each bucket, one for the sum, and one for the count."""
    pairs = dict(zip(series.declaration.labels, series.values, strict=True))
    match series.declaration.part:
        case "bucket":
            try:
                bound = float(pairs.pop("le", ""))
            except ValueError:
                return
            buckets = family.distribution(labels_of(pairs)).buckets
            buckets[bound] = buckets.get(bound, 0.0) + sound(value)
        case "sum":
            family.distribution(labels_of(pairs)).sum += _finite(value)
        case _:
            family.distribution(labels_of(pairs)).counted += sound(value)


def together(mode: str, before: list[float], values: list[float]) -> list[float]:
    """The values of a gauge out of two processes; NaN is a gauge that was never set."""
    one, other = before[0], values[0]
    if math.isnan(one) or math.isnan(other):
        return before if math.isnan(other) else values
    match mode.removeprefix("live"):
        case "min":
            return [min(one, other)]
        case "max":
            return [max(one, other)]
        case "mostrecent":
            return before if before[1] >= values[1] else values
        case _:
            return [one + other]


def sound(value: float) -> float:
    """A count, or nothing if it is none: whoever writes it may be broken, and totals never fall."""
    return value if 0.0 <= value < math.inf else 0.0


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
