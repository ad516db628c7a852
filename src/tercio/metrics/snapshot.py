"""All metrics at one moment: the cluster's own and the applications', over all processes."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tercio.dataplane.families import Distribution, Family, labels_of
from tercio.dataplane.scoreboard import Scoreboard
from tercio.dataplane.series import SeriesBoard
from tercio.metrics import builtin


@dataclass(slots=True)
class Snapshot:
    """``snapshot["orders_total"]`` is a counter over all labels and processes."""

    families: dict[str, Family]
    """By the names that people see."""
    at: float = field(default_factory=time.monotonic)
    """Seconds of a clock that only differences of two snapshots of one process mean."""

    @classmethod
    def take(cls, series: SeriesBoard, scoreboard: Scoreboard | None) -> Self:
        """Read it all from shared memory. Raises `TimeoutError`; see `SeriesBoard.read`."""
        reading = series.read()
        families = [*reading.families.values(), *builtin.of_series(reading)]
        if scoreboard is not None:
            families += builtin.of_scoreboard(scoreboard)
        return cls.of(families)

    @classmethod
    def of(cls, families: Iterable[Family]) -> Self:
        """A snapshot of these families, in the order of their names."""
        return cls({f.shown_name: f for f in sorted(families, key=lambda f: f.shown_name)})

    def __contains__(self, name: object) -> bool:
        return name in self.families

    def __getitem__(self, name: str) -> float:
        """All series of a metric together: the count, for a histogram. Raises `KeyError`."""
        return sum(map(_number, self.families[name].series.values()))

    def value(self, name: str, **labels: object) -> float:
        """One series; 0 for one that nobody has counted in. Raises `KeyError` for the name."""
        wanted = labels_of({label: str(value) for label, value in labels.items()})
        return _number(self.families[name].series.get(wanted, 0.0))

    def distribution(self, name: str, **labels: object) -> Distribution:
        """One series of a histogram or a summary; an empty one if nothing was observed."""
        wanted = labels_of({label: str(value) for label, value in labels.items()})
        family = self.families.get(name)
        found = family.series.get(wanted) if family is not None else None
        return found if isinstance(found, Distribution) else Distribution()

    def to_json(self) -> dict[str, object]:
        """What `tercio metrics --json` shows."""
        return {"metrics": [family.to_json() for family in self.families.values()]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Raises `ValueError` for what `to_json` does not make."""
        metrics = values.get("metrics")
        if not isinstance(metrics, list):
            raise ValueError("no list of metrics")
        return cls.of([Family.from_json(one) for one in metrics])


def _number(value: float | Distribution) -> float:
    return value.count if isinstance(value, Distribution) else value
