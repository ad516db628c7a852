"""Say of each worker how fast it is: what its row in shared memory shows between two looks."""

import math
import time
from collections.abc import Mapping
from typing import Final

from tercio.dataplane.families import Distribution
from tercio.dataplane.scoreboard import DURATION_BOUNDS, DURATION_WORDS, Field, Row, Scoreboard

_BOUNDS: Final = (*DURATION_BOUNDS, math.inf)


class Paces:
    """The pace of each worker since the look before."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._before: dict[str, tuple[int, Distribution]] = {}

    def since_last(self, seconds: float) -> Mapping[str, object]:
        """By the name of the worker. ``seconds`` have passed; of new ones only the lag is known."""
        now = {_name(row): row for row in self._scoreboard if row[Field.PID] and row[Field.SLOT]}
        # One read: what a worker counts meanwhile belongs to the next look, in all numbers.
        looked = {name: (row[Field.REQUESTS], _durations(row)) for name, row in now.items()}
        before, self._before = self._before, looked
        return {
            name: {
                "lag": _lag(row),
                **_pace(before.get(name), looked[name], seconds),
            }
            for name, row in now.items()
        }


def _pace(
    before: tuple[int, Distribution] | None, now: tuple[int, Distribution], seconds: float
) -> Mapping[str, object]:
    if before is None or seconds <= 0 or now[0] < before[0]:
        return {"rate": None, "p50": None, "p99": None}
    durations = now[1].minus(before[1])
    return {
        "rate": (now[0] - before[0]) / seconds,
        "p50": durations.quantile(0.5),
        "p99": durations.quantile(0.99),
    }


def _lag(row: Row) -> float:
    """Of a loop that is in one callback for long, for how long it is."""
    lag = row[Field.LOOP_LAG_US] / 1e6
    since = row[Field.SUSPECT]
    return max(lag, time.monotonic() - since / 1e9) if since else lag


def _name(row: Row) -> str:
    return f"{row[Field.SLOT] - 1}.{row[Field.INCARNATION]}"


def _durations(row: Row) -> Distribution:
    counts = [row[number] for number in range(DURATION_WORDS.start, DURATION_WORDS.stop)]
    return Distribution(dict(zip(_BOUNDS, map(float, counts), strict=True)))
