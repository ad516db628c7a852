"""When memory use means a leak."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from tercio.core.leaks import MemoryHistory
from tercio.core.policy import Policy

LIMITED = Policy(limit_memory=300_000_000)
WATCHED = Policy(leak_window=100.0)
MB = 1_000_000


def test_one_sample_over_the_limit_never_triggers() -> None:
    history = MemoryHistory()
    history.observe(-1.0, 100 * MB, LIMITED)
    assert history.observe(0.0, 301 * MB, LIMITED) is None
    assert history.observe(1.0, 299 * MB, LIMITED) is None
    assert history.observe(2.0, 301 * MB, LIMITED) is None


def test_two_in_a_row_do_and_the_reason_says_so() -> None:
    history = MemoryHistory()
    history.observe(-1.0, 100 * MB, LIMITED)
    history.observe(0.0, 301 * MB, LIMITED)
    reason = history.observe(1.0, 302 * MB, LIMITED)
    assert reason == "memory 302 MB is over the limit of 300 MB (--limit-max-memory)"


def test_a_worker_that_is_over_the_limit_when_fresh_is_no_leak_until_it_grows() -> None:
    # A replacement would be over it too, and its replacement: a loop without end.
    history = MemoryHistory()
    for t in range(100):
        assert history.observe(float(t), (320 + t % 50) * MB, LIMITED) is None
    assert history.is_over_when_fresh(LIMITED)
    history.observe(100.0, 385 * MB, LIMITED)
    assert history.observe(101.0, 386 * MB, LIMITED) is not None


def test_jitter_lowers_the_limit_of_a_worker_and_the_reason_names_the_limit_given() -> None:
    history = MemoryHistory(fresh=100 * MB)
    history.observe(0.0, 280 * MB, LIMITED, 0.95)
    history.observe(1.0, 290 * MB, LIMITED, 0.95)
    reason = history.observe(2.0, 290 * MB, LIMITED, 0.95)
    assert (
        reason == "memory 290 MB is within its jitter of the limit of 300 MB (--limit-max-memory)"
    )


def test_jitter_never_replaces_a_worker_that_is_as_it_was_when_fresh() -> None:
    history = MemoryHistory(fresh=295 * MB)
    assert all(history.observe(float(t), 299 * MB, LIMITED, 0.9) is None for t in range(50))
    history.observe(50.0, 301 * MB, LIMITED, 0.9)
    assert history.observe(51.0, 301 * MB, LIMITED, 0.9) is not None


def test_steady_growth_over_a_whole_window_is_a_leak() -> None:
    history = MemoryHistory()
    reasons = [history.observe(float(t), (100 + t) * MB, WATCHED) for t in range(120)]
    assert reasons[:100] == [None] * 100
    assert any(reasons)


def test_a_sawtooth_is_no_leak() -> None:
    history = MemoryHistory()
    for t in range(2000):
        assert history.observe(float(t), (100 + (t % 25) * 20) * MB, WATCHED) is None


def test_a_warm_up_that_ends_is_no_leak() -> None:
    history = MemoryHistory()
    for t in range(2000):
        assert history.observe(float(t), (100 + min(t, 60)) * MB, WATCHED) is None


@given(st.lists(st.integers(0, 10**10), max_size=300))
def test_memory_of_the_history_is_bounded(samples: list[int]) -> None:
    history = MemoryHistory()
    for t, used in enumerate(samples):
        history.observe(t * 7.0, used, dataclasses.replace(WATCHED, limit_memory=10**9))
    assert len(history.bucket_minima) <= 11
