"""Who looks again and again at `status` is told the pace of each worker since the last time."""

from typing import Any

from tercio.metrics.paces import Pace, Paces

BOUNDS = [0.01, 0.1, 1.0]


def worker(name: str, requests: int, *durations: int, lag: float = 0.0) -> dict[str, Any]:
    return {"worker": name, "requests": requests, "durations": durations, "loop_lag": lag}


def status(*workers: dict[str, Any]) -> dict[str, object]:
    listed = [{**one, "durations": list(one["durations"])} for one in workers]
    return {"duration_bounds": BOUNDS, "workers": listed}


def test_each_worker_has_its_own_pace() -> None:
    paces = Paces()
    first = status(worker("0.7", 1000, 1000, 0, 0, 0), worker("4.7", 1000, 1000, 0, 0, 0))
    nothing = Pace(None, None, None, 0.0)
    assert paces.look(first, 10.0) == {"0.7": nothing, "4.7": nothing}
    busy = worker("4.7", 1050, 1000, 50, 0, 0, lag=0.0025)
    told = paces.look(status(worker("0.7", 1000, 1000, 0, 0, 0), busy), 12.0)
    assert told["0.7"] == Pace(0.0, None, None, 0.0)
    assert told["4.7"].rate == 25
    assert told["4.7"].lag == 0.0025
    assert 0.01 < (told["4.7"].p50 or 0) < (told["4.7"].p99 or 0) <= 0.1
    assert paces.together == told["4.7"]
    both = status(worker("0.7", 1030, 1030, 0, 0, 0), {**busy, "requests": 1060, "durations": (
        1000, 50, 10, 0)})  # fmt: skip
    paces.look(both, 13.0)
    assert paces.together.rate == 40
    assert paces.together.p50 is not None
    assert paces.together.p50 < 0.01 < 0.1 < (paces.together.p99 or 0)


def test_a_successor_begins_anew() -> None:
    paces = Paces()
    paces.look(status(worker("0.1", 50, 50, 0, 0, 0)), 1.0)
    fresh = paces.look(status(worker("0.2", 60, 60, 0, 0, 0)), 2.0)
    assert list(fresh) == ["0.2"]
    assert fresh["0.2"].rate is None
    told = paces.look(status(worker("0.2", 63, 60, 0, 0, 3)), 3.0)  # slower than all bounds
    assert told["0.2"].rate == 3
    assert told["0.2"].p99 == BOUNDS[-1]


def test_a_primary_that_tells_less_leaves_it_unknown() -> None:
    paces = Paces()
    older: dict[str, object] = {"workers": [{"worker": "0.1", "requests": 5}, {"slot": 3}, None]}
    assert paces.look(older, 1.0) == {"0.1": Pace(None, None, None, None)}
    assert paces.look(older, 2.0) == {"0.1": Pace(0.0, None, None, None)}
    assert paces.look({}, 3.0) == {}
    assert paces.together == Pace()
