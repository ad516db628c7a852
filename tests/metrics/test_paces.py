"""A viewer is told the pace of each worker since it last looked."""

import time
from typing import Any

from tercio.dataplane.scoreboard import DURATION_BOUNDS, Field, Scoreboard
from tercio.sidecar.paces import Paces


def test_each_worker_has_its_own_pace() -> None:
    board = Scoreboard.create(3)
    for seat, slot in ((0, 0), (1, 4)):
        row = board.row(seat)
        row[Field.PID], row[Field.SLOT], row[Field.INCARNATION] = 100 + seat, slot + 1, 7
        row[Field.REQUESTS] = 1000
        row[Field.DURATIONS] = 1000
    paces = Paces(board)
    unknown = {"rate": None, "p50": None, "p99": None}
    assert paces.since_last(0.0) == {"0.7": {"lag": 0, **unknown}, "4.7": {"lag": 0, **unknown}}
    busy = board.row(1)
    busy[Field.LOOP_LAG_US] = 2500
    busy[Field.REQUESTS] += 50
    busy[Field.DURATIONS + DURATION_BOUNDS.index(0.1)] += 50
    told: Any = paces.since_last(2.0)
    assert told["0.7"] == {"lag": 0, "rate": 0, "p50": None, "p99": None}
    assert told["4.7"]["rate"] == 25
    assert told["4.7"]["lag"] == 0.0025
    assert 0.05 < told["4.7"]["p50"] < told["4.7"]["p99"] <= 0.1
    busy[Field.SUSPECT] = time.monotonic_ns() - 3_000_000_000
    told = paces.since_last(1.0)
    assert told["4.7"]["lag"] >= 3, "its loop is in one callback since then"


def test_a_successor_in_the_same_seat_begins_anew() -> None:
    board = Scoreboard.create(1)
    row = board.row(0)
    row[Field.PID], row[Field.SLOT], row[Field.INCARNATION], row[Field.REQUESTS] = 1, 1, 1, 50
    paces = Paces(board)
    paces.since_last(1.0)
    row[Field.INCARNATION], row[Field.REQUESTS] = 2, 60
    fresh: Any = paces.since_last(1.0)
    assert list(fresh) == ["0.2"]
    assert fresh["0.2"]["rate"] is None
    row[Field.REQUESTS] += 3
    row[Field.DURATIONS + len(DURATION_BOUNDS)] += 3  # slower than all bounds
    told: Any = paces.since_last(1.0)
    assert told["0.2"]["rate"] == 3
    assert told["0.2"]["p99"] == DURATION_BOUNDS[-1]
