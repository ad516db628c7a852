"""What is shown is what happened between two looks."""

from tercio.cli.top.history import POINTS, History
from tests.cli.top.statuses import status, worker


def test_lines_grow_with_each_look_and_stay_bounded() -> None:
    history = History()
    for second in range(POINTS + 50):
        done = [100 * second, 0, 0, 0, 0]
        one = worker(0, requests=100 * second, durations=done, loop_lag=0.002)
        history.take(status(one, requests=100 * second), float(second))
    [seen] = history.workers
    assert seen.pace.rate == 100
    assert history.pace.rate == 100
    assert len(history.lines["rate"]) == len(seen.lines["rate"]) == POINTS
    assert set(seen.lines["lag"]) == {0.002}
    assert history.pace.p99 is not None
    assert 0 < history.pace.p99 <= 0.001


def test_a_successor_has_lines_of_its_own() -> None:
    history = History()
    history.take(status(worker(0, requests=50)), 0.0)
    history.take(status(worker(0, requests=70), worker(0, 2, generation=2)), 1.0)
    old, new = history.workers
    assert (old.name, new.name) == ("0.1", "0.2")
    assert list(old.lines["rate"]) == [None, 20]
    assert list(new.lines["rate"]) == [None]


def test_the_rate_of_all_counts_those_who_died() -> None:
    history = History()
    history.take(status(worker(0, requests=50), requests=1000), 0.0)
    history.take(status(requests=1030, target=1, slots=[{"slot": 0, "restarts": 1}]), 1.0)
    assert history.pace.rate == 30
    assert [(one.slot, one.state) for one in history.workers] == [(0, "down")]


def test_who_is_blocked_is_shown_with_the_culprit_until_it_is_over() -> None:
    history = History()
    history.take(status(worker(0), worker(1)), 0.0)
    history.hear({"kind": "WorkerBlocked", "worker": "1.1", "culprit": "shop.py:7 in slow"})
    assert [one.state for one in history.workers] == ["serving", "blocked"]
    history.take(status(worker(0), worker(1)), 1.0)
    assert history.workers[1].culprit == "shop.py:7 in slow"
    history.hear({"kind": "WorkerUnblocked", "worker": "1.1"})
    assert [one.state for one in history.workers] == ["serving", "serving"]


def test_a_look_that_nobody_answered_is_a_gap() -> None:
    history = History()
    history.take(status(worker(0)), 0.0)
    history.miss()
    history.take(status(worker(0)), 2.0)
    assert list(history.workers[0].lines["memory"]) == [48 << 20, None, 48 << 20]
    assert list(history.connections) == [2, None, 2]


def test_a_primary_that_says_little_is_no_reason_to_fail() -> None:
    history = History()
    history.take({}, 0.0)
    history.take({"workers": [{"worker": "0.1"}, 7], "slots": [{}]}, 1.0)
    assert [one.name for one in history.workers] == ["0.1"]
    history.hear({})
