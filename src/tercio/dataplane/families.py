"""What is known of each metric: its declaration, and its series added up over processes.

Also their JSON, in which the primary hands them to `tercio metrics`. It knows no exposition format.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

KINDS: Final = ("counter", "gauge", "histogram", "summary")
PARTS: Final = ("", "bucket", "sum", "count")
MODES: Final = (
    "", "all", "liveall", "sum", "livesum", "min", "livemin", "max", "livemax",
    "mostrecent", "livemostrecent",
)  # fmt: skip

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Sorted pairs of name and value."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one process says of one metric.

    ``mode`` says what becomes of a gauge over several processes, in prometheus_client's words.
    A histogram has its ``bounds`` and keeps a count for each, one above all, and the sum; or it
    comes in parts, each a series of its own, as prometheus_client keeps it.
    """

    kind: str
    name: str
    help: str = ""
    labels: tuple[str, ...] = ()
    mode: str = ""
    bounds: tuple[float, ...] = ()
    part: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.mode not in MODES or self.part not in PARTS:
            raise ValueError("no such kind, mode or part of a metric")

    @property
    def slots(self) -> int:
        """How many values a series has."""
        if self.bounds:
            return len(self.bounds) + 2
        return 2 if self.mode.endswith("mostrecent") else 1

    def to_payload(self) -> bytes:
        """As an entry of a region's directory."""
        fields = (self.kind, self.name, self.help, self.labels, self.mode, self.bounds, self.part)
        return json.dumps(["metric", *fields]).encode()

    @classmethod
    def parse(cls, values: list[Any]) -> Self:
        """Raises `ValueError` for what is no declaration."""
        match values:
            case [
                str(kind),
                str(name),
                str(text),
                list(labels),
                str(mode),
                list(limits),
                str(part),
            ]:
                bounds = tuple(map(float, limits))
                return cls(kind, name, text, tuple(map(str, labels)), mode, bounds, part)
        raise ValueError("not a declaration")


@dataclass(slots=True)
class Distribution:
    """A histogram or a summary: how many were at most each bound (and above the one before)."""

    buckets: dict[float, float] = field(default_factory=dict)
    sum: float = 0.0
    counted: float = 0.0
    """The count of a summary; a histogram's is in its buckets."""

    @property
    def count(self) -> float:
        """How many values were observed."""
        return sum(self.buckets.values()) + self.counted

    def cumulative(self) -> list[tuple[float, float]]:
        """Pairs of a bound and how many were at most that, in order; the last bound is infinite."""
        found, total = [], 0.0
        for bound in sorted({*self.buckets, math.inf}):
            total += self.buckets.get(bound, 0.0)
            found.append((bound, total))
        return found

    def quantile(self, share: float) -> float | None:
        """Below what a share (0 to 1) of the values lies, as near as the buckets tell.

        None if there are no values; the highest finite bound for what is above it.
        """
        rank = share * self.count
        below, low = 0.0, 0.0
        for bound, total in self.cumulative():
            if total >= rank and total > below:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * (rank - below) / (total - below)
            below, low = total, bound if not math.isinf(bound) else low
        return None

    def minus(self, earlier: "Distribution") -> "Distribution":
        """What was observed since an earlier look."""
        buckets = {
            bound: number - earlier.buckets.get(bound, 0.0)
            for bound, number in self.buckets.items()
        }
        return Distribution(buckets, self.sum - earlier.sum, self.counted - earlier.counted)


@dataclass(slots=True)
class Family:
    """A metric over all processes. A counter's ``name`` is without ``_total``."""

    kind: str
    name: str
    help: str = ""
    series: dict[Labels, float | Distribution] = field(default_factory=dict)

    def add(self, value: float, labels: Mapping[str, str] | None = None) -> Self:
        """Add to a series; made if it is not there."""
        key = labels_of(labels)
        before = self.series.get(key, 0.0)
        self.series[key] = value + (before if isinstance(before, float) else 0.0)
        return self

    def distribution(self, labels: Labels = ()) -> Distribution:
        """The distribution of a series; made if it is not there."""
        found = self.series.get(labels)
        if not isinstance(found, Distribution):
            found = self.series[labels] = Distribution()
        return found

    @property
    def shown_name(self) -> str:
        """The name that people see."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def to_json(self) -> dict[str, object]:
        """For the control socket and `tercio metrics --json`."""
        return {
            "name": self.shown_name,
            "kind": self.kind,
            "help": self.help,
            "series": [
                {"labels": dict(labels), **_value_to_json(value)}
                for labels, value in self.series.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Raises `ValueError` for what `to_json` does not make."""
        try:
            kind = values["kind"]
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is no kind of metric")
            family = cls(kind, family_name(kind, values["name"]), values["help"])
            for one in values["series"]:
                family.series[labels_of(one["labels"])] = _value_from_json(one)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a metric: {error!r}") from error
        return family


def labels_of(labels: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Labels:
    """Labels in the form that is compared."""
    return tuple(sorted(dict(labels).items())) if labels else ()


def family_name(kind: str, name: str) -> str:
    """The name of a family: a counter ``orders`` and one ``orders_total`` are the same."""
    return name.removesuffix("_total") if kind == "counter" else name


def _value_to_json(value: float | Distribution) -> dict[str, object]:
    if not isinstance(value, Distribution):
        # JSON has no infinity; Python's would not be read elsewhere.
        return {"value": value if math.isfinite(value) else str(value)}
    shown: dict[str, object] = {"count": value.count, "sum": value.sum}
    if value.buckets:
        shown["buckets"] = [
            ["+Inf" if math.isinf(bound) else bound, number]
            for bound, number in sorted(value.buckets.items())
        ]
    return shown


def _value_from_json(values: Mapping[str, Any]) -> float | Distribution:
    if "value" in values:
        return float(values["value"])
    if "buckets" in values:
        buckets = {float(bound): float(number) for bound, number in values["buckets"]}
        return Distribution(buckets, float(values["sum"]))
    return Distribution({}, float(values["sum"]), float(values["count"]))
