"""Runs in one process, and of several over one state."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tercio import cluster, jobs
from tercio.jobs import Jobs, Run
from tercio.jobs.registry import JOBS
from tercio.testing.clock import Clock
from tests.jobs.conftest import Workers, patience

pytestmark = pytest.mark.anyio


async def until(is_true: Callable[[], bool]) -> None:
    async with patience():
        while not is_true():
            await asyncio.sleep(0.005)


async def test_what_is_due_runs_once_when_a_test_says_so(tercio_clock: Clock) -> None:
    seen: list[Any] = []

    @cluster.every(60, name="plain")
    def plain() -> None:
        seen.append(("plain", jobs.current().name, threading.current_thread().name))

    @cluster.every(3600, name="hourly")
    async def hourly(run: Run) -> None:
        seen.append(("hourly", run.token, jobs.current() is run))

    assert await cluster.jobs.run_pending() == []
    tercio_clock.advance(60)
    (result,) = [each for each in await cluster.jobs.run_pending() if each.job == "plain"]
    assert (result.outcome, result.scheduled % 60, result.error) == ("success", 0, "")
    assert seen[0] == ("plain", "plain", "tercio-job-plain")
    assert await cluster.jobs.run_pending() == []
    # Two days without anybody: one run for all that was left out.
    tercio_clock.advance(2 * 86400)
    assert [each.job for each in await cluster.jobs.run_pending()] == ["plain", "hourly"]
    assert seen[-1][2] is True
    assert "tercio_job_last_success_timestamp_seconds" in cluster.metrics.text()


async def test_a_job_that_raises_is_counted_and_goes_on(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    @cluster.every(60, name="bad")
    def bad() -> None:
        raise SystemExit("no disk")

    one = workers()
    await one.run_pending()
    for _ in range(2):
        workers.clock.advance(60)
        (result,) = await one.run_pending()
        assert (result.outcome, result.error) == ("error", "SystemExit: no disk")
    assert workers.counted("bad", "error") == 2
    assert "Traceback" in caplog.text
    with pytest.raises(SystemExit, match="no disk"):
        await one.run("bad")


async def test_one_by_name_answers_and_keeps_its_schedule(workers: Workers) -> None:
    @cluster.cron("0 3 * * *", name="sum")
    async def total() -> int:
        return 7

    one = workers()
    assert await one.run("sum") == 7
    assert await one.run_pending() == []
    with pytest.raises(KeyError, match="no job 'other'; there are: sum"):
        await one.run("other")


async def test_two_workers_take_each_due_time_once_with_growing_tokens(workers: Workers) -> None:
    tokens: list[int] = []

    @cluster.every(60, name="count")
    async def count(run: Run) -> None:
        tokens.append(run.token)
        await asyncio.sleep(0)

    one, two = workers(), workers()
    await asyncio.gather(one.run_pending(), two.run_pending())
    for _ in range(20):
        workers.clock.advance(60)
        results = await asyncio.gather(one.run_pending(), two.run_pending())
        took = [each for both in results for each in both if each.took_place]
        assert len(took) == 1
    assert len(tokens) == 20
    assert tokens == sorted(set(tokens))


async def test_one_that_runs_once_runs_once_for_each_key(workers: Workers) -> None:
    ran: list[str] = []

    @cluster.once(name="migrate")
    def migrate() -> None:
        ran.append("migrate")

    @cluster.once(name="seed", key="v2")
    def seed() -> None:
        ran.append("seed")
        if ran.count("seed") == 1:
            raise OSError("not yet")

    one, two = workers(), workers()
    assert [each.outcome for each in await one.run_pending()] == ["success", "error"]
    assert await one.run_pending() == []
    # The next worker tries what has failed again.
    assert [each.job for each in await two.run_pending()] == ["seed"]
    assert await workers().run_pending() == []
    JOBS.forget()
    cluster.once(name="seed", key="v3")(seed)
    assert [each.job for each in await workers().run_pending()] == ["seed"]


async def test_a_coroutine_is_cancelled_at_its_end_and_a_thread_reported(workers: Workers) -> None:
    cleaned: list[str] = []
    may_go = threading.Event()

    @cluster.every(60, name="hangs", timeout=0.05)
    async def hangs(run: Run) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(f"stop {run.stop.is_set()}")

    @cluster.every(60, name="sleeps", timeout=0.05)
    def sleeps(run: Run) -> None:
        run.stop.wait(30)  # it looks whether it is to end
        may_go.wait(30)

    one = workers()
    await one.run_pending()
    workers.clock.advance(60)
    running = asyncio.create_task(one.run_pending())
    await until(lambda: workers.counted("sleeps", "timeout") == 1)
    may_go.set()
    async with patience():
        results = await running
    assert [each.outcome for each in results] == ["timeout", "timeout"]
    assert cleaned == ["stop True"]
    assert workers.counted("hangs", "timeout") == 1


@pytest.mark.parametrize(("overlap", "expected"), [("skip", "skipped"), ("queue", "success")])
async def test_a_run_that_is_still_going(workers: Workers, overlap: Any, expected: str) -> None:
    begun, may_go = asyncio.Event(), asyncio.Event()
    runs: list[float] = []

    @cluster.every(0.1, name="slow", overlap=overlap)
    async def slow(run: Run) -> None:
        runs.append(run.scheduled.timestamp())
        begun.set()
        await may_go.wait()

    one = workers()
    one.start()
    async with patience():
        await begun.wait()
    if overlap == "skip":
        await until(lambda: workers.counted("slow", "skipped") >= 2)
        assert len(runs) == 1
    else:
        workers.clock.advance(1)
    may_go.set()
    await until(lambda: len(runs) >= 3)
    assert runs == sorted(set(runs)), "each due time once"
    if overlap == "queue":
        assert workers.counted("slow", "skipped") == 0


async def test_a_worker_that_pauses_lets_the_next_one_run(workers: Workers) -> None:
    ran: list[float] = []

    @cluster.every(0.05, name="beat")
    async def beat(run: Run) -> None:
        ran.append(run.scheduled.timestamp())

    one, two = workers(), workers()
    one.start()
    await until(lambda: len(ran) >= 2)
    two.start()
    one.pause()
    before = len(ran)
    await until(lambda: len(ran) >= before + 3)
    one.start()
    two.pause()
    before = len(ran)
    await until(lambda: len(ran) >= before + 3)
    assert ran == sorted(set(ran)), "each due time once, whoever looked at the clock"
    assert {
        each["runner"] for told in workers.told for each in told["jobs"] if "runner" in each
    } >= {"1.1"}


def declare_long(drain: Any, begun: asyncio.Event, may_go: asyncio.Event, ended: list[str]) -> None:
    @cluster.every(3600, name="long", drain=drain)
    async def long(run: Run) -> None:
        begun.set()
        try:
            await may_go.wait()
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise


async def begin_long(workers: Workers, begun: asyncio.Event) -> Jobs:
    one = workers()
    one.start()
    await until(lambda: bool(workers.told))  # it has looked at the clock
    workers.clock.advance(3600)
    one._woken.set()  # time has passed that a loop does not notice
    async with patience():
        await begun.wait()
    begun.clear()
    return one


async def test_a_drain_waits_for_a_job(workers: Workers) -> None:
    begun, may_go, ended = asyncio.Event(), asyncio.Event(), list[str]()
    declare_long("wait", begun, may_go, ended)
    one = await begin_long(workers, begun)
    two = workers()
    one.end(30)
    two.start()
    assert ended == []
    may_go.set()
    async with patience():
        await one.ended()
    assert ended == ["done"]
    assert (workers.counted("long", "success"), workers.counted("long", "cancelled")) == (1, 0)


async def test_a_drain_waits_no_longer_than_it_may(workers: Workers) -> None:
    begun, ended = asyncio.Event(), list[str]()
    declare_long("wait", begun, asyncio.Event(), ended)
    one = await begin_long(workers, begun)
    one.end(30)
    one.end(0.05)  # a stop came on top of a reload
    async with patience():
        await one.ended()
    assert ended == ["cancelled"]
    assert workers.counted("long", "cancelled") == 1


async def test_a_drain_cancels_a_job_and_nobody_begins_it_anew(workers: Workers) -> None:
    begun, ended = asyncio.Event(), list[str]()
    declare_long("cancel", begun, asyncio.Event(), ended)
    one = await begin_long(workers, begun)
    one.end(30)
    async with patience():
        await one.ended()
    assert ended == ["cancelled"]
    assert await workers().run_pending() == []


async def test_a_drain_hands_a_job_over_and_the_next_worker_begins_it_at_once(
    workers: Workers,
) -> None:
    begun, may_go, ended = asyncio.Event(), asyncio.Event(), list[str]()
    declare_long("handover", begun, may_go, ended)
    one = await begin_long(workers, begun)
    two = workers()
    two.start()
    one.end(30)
    async with patience():
        await begun.wait()
        await one.ended()
    assert ended == ["cancelled"]
    may_go.set()
    await until(lambda: workers.counted("long", "success") == 1)
    assert ended == ["cancelled", "done"]
    assert await workers().run_pending() == [], "it is done"


async def test_a_run_whose_lease_ended_is_lost_and_another_may_have_it(workers: Workers) -> None:
    begun, may_go, ended = asyncio.Event(), asyncio.Event(), list[str]()
    runs: list[Run] = []

    @cluster.every(3600, name="fenced", drain="handover")
    async def fenced(run: Run) -> None:
        runs.append(run)
        begun.set()
        if len(runs) == 1:
            await asyncio.Event().wait()

    one = workers()
    one.takeover = 0.3
    one.start()
    await until(lambda: bool(workers.told))
    workers.clock.advance(3600)  # which ends its lease, too, as if it had been stopped
    one._woken.set()
    async with patience():
        await begun.wait()
    begun.clear()
    two = workers()
    workers.clock.advance(1)
    await two.run_pending()
    assert len(runs) == 2
    await until(lambda: workers.counted("fenced", "lost") == 1)
    assert runs[0].lost.is_set()
    assert not runs[1].lost.is_set()
    assert runs[1].token > runs[0].token
    assert (may_go.is_set(), ended) == (False, [])


async def test_the_next_worker_tells_of_the_runs_of_the_last(workers: Workers) -> None:
    @cluster.every(60, name="tidy")
    def tidy() -> None:
        pass

    one = workers()
    await one.run_pending()
    workers.clock.advance(60)
    await one.run_pending()
    workers.told.clear()
    two = workers()
    two.start()
    await until(lambda: bool(workers.told))
    (told,) = workers.told
    assert told["is_all"] is True
    (news,) = told["jobs"]
    assert news["outcome"] == "success"
    assert news["runner"] == "0.1"
    assert "tercio_job_last_success_timestamp_seconds{" in workers.metrics[1].text()


@pytest.mark.parametrize(("misfire", "outcome"), [(60, "missed"), (7200, "success")])
async def test_a_run_that_nobody_was_there_for(
    workers: Workers, misfire: float, outcome: str
) -> None:
    @cluster.cron("0 * * * *", name="hourly", misfire=misfire)
    async def hourly() -> None:
        pass

    await workers().run_pending()  # the job is known
    workers.clock.advance(5400)  # at least half an hour late, or an hour and a half
    now = workers.clock()
    if now % 3600 <= 120:
        workers.clock.advance(300)  # it was due just now, which is not late
    two = workers()
    two.start()
    await until(lambda: workers.counted("hourly", outcome) == 1)
    assert workers.counted("hourly", "success") == (outcome == "success")


def test_outside_of_a_job_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="inside of a job only"):
        jobs.current()
