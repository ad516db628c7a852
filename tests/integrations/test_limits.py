"""What the tests of `limits` (scripts/test-upstream) don't say of our storages."""

import asyncio
import threading
import time

import limits.aio.storage
import limits.aio.strategies
import limits.storage
import limits.strategies
import pytest
from limits import RateLimitItemPerHour, RateLimitItemPerMinute

import tercio.integrations.limits
from tercio import cluster
from tercio.integrations.windows import Windows

STRATEGIES = (
    "FixedWindowRateLimiter",
    "MovingWindowRateLimiter",
    "SlidingWindowCounterRateLimiter",
)
FIVE = RateLimitItemPerHour(5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_threads_get_exactly_what_a_limit_allows(strategy: str) -> None:
    storage = limits.storage.storage_from_string("tercio://")
    limiter = getattr(limits.strategies, strategy)(storage)
    hits: list[bool] = []

    def hit() -> None:
        hits.extend(limiter.hit(FIVE, "ada") for _ in range(5))

    threads = [threading.Thread(target=hit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits.count(True) == 5
    assert not limiter.test(FIVE, "ada")
    assert limiter.get_window_stats(FIVE, "ada").remaining == 0
    assert limiter.hit(FIVE, "bob")
    limiter.clear(FIVE, "ada")
    assert limiter.hit(FIVE, "ada")


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_tasks_get_exactly_what_a_limit_allows(strategy: str) -> None:
    storage = limits.storage.storage_from_string("async+tercio://")
    limiter = getattr(limits.aio.strategies, strategy)(storage)
    hits = await asyncio.gather(*(limiter.hit(FIVE, "ada") for _ in range(20)))
    assert hits.count(True) == 5
    assert not await limiter.test(FIVE, "ada")
    assert (await limiter.get_window_stats(FIVE, "ada")).remaining == 0
    await limiter.clear(FIVE, "ada")
    assert await limiter.hit(FIVE, "ada")


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_limiter_without_await_works_in_an_event_loop(strategy: str) -> None:
    """slowapi calls it so."""
    storage = limits.storage.storage_from_string("tercio://")
    limiter = getattr(limits.strategies, strategy)(storage)
    assert [limiter.hit(FIVE, "ada", cost=3) for _ in range(2)] == [True, False]
    assert limiter.hit(FIVE, "bob", cost=5)


def test_tasks_and_threads_count_together_and_names_apart() -> None:
    item = RateLimitItemPerMinute(2)
    both = tercio.integrations.limits.AsyncTercioStorage("async+tercio://api")
    limiter = limits.aio.strategies.MovingWindowRateLimiter(both)
    assert asyncio.run(limiter.hit(item, "ada", cost=2))
    for name, is_allowed in (("api", False), ("login", True)):
        storage = limits.storage.storage_from_string(f"tercio://{name}")
        assert limits.strategies.MovingWindowRateLimiter(storage).hit(item, "ada") is is_allowed


def test_a_reset_forgets_all_kinds_and_leaves_the_application_alone() -> None:
    cluster.sync.state.set("mine", 1)
    storage = limits.storage.storage_from_string("tercio://")
    limiters = [getattr(limits.strategies, strategy)(storage) for strategy in STRATEGIES]
    for limiter in limiters:
        assert limiter.hit(FIVE, "ada", cost=5)
    assert storage.reset() == 3
    assert all(limiter.hit(FIVE, "ada", cost=5) for limiter in limiters)
    assert cluster.sync.state.get("mine") == 1


def test_an_identifier_may_be_of_any_length() -> None:
    storage = limits.storage.storage_from_string("tercio://")
    for strategy in STRATEGIES:
        limiter = getattr(limits.strategies, strategy)(storage)
        assert limiter.hit(FIVE, "a" * 2000, cost=5)
        assert not limiter.hit(FIVE, "a" * 2000)
        assert limiter.hit(FIVE, "a" * 2001)


def test_the_oldest_hit_says_when_a_moving_window_began() -> None:
    storage = tercio.integrations.limits.TercioStorage()
    before = time.time()
    assert storage.acquire_entry("key", 2, 60)
    after = time.time()
    start, count = storage.get_moving_window("key", 2, 60)
    assert count == 1
    assert before - 0.01 <= start <= after + 0.01 + (time.time() - after)


def test_hits_of_the_period_before_fade() -> None:
    windows = Windows.at(90.0, 60, Windows(0, 10, 0))
    assert windows == Windows(1, 0, 10)
    assert windows.hit(90.0, 60, 10, 5) == Windows(1, 5, 10)
    assert windows.hit(90.0, 60, 10, 6) is None
    assert (windows.left_of_before(90.0, 60), windows.left(90.0, 60)) == (30.0, 90.0)
    assert Windows.at(180.0, 60, windows) == Windows(3, 0, 0)
    assert Windows.at(30.0, 60, windows) == windows
