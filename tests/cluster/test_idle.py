"""What a cluster costs that does nothing, and how long it takes to be there."""

import subprocess
import sys
import time

import pytest

from tests.cluster.chaos.tiers import SLACK
from tests.cluster.harness import Cluster
from tests.cluster.spent import Spent, by_thread, family

SECONDS = 4.0

SHARING = """
import asyncio
from tercio.cluster import bus, leader, metrics, state

USED = []

async def lead():
    async with leader("idle"):
        await asyncio.Event().wait()

async def listen():
    async for _ in bus.subscribe("idle.*"):
        pass

async def use():
    await state.incr("starts")
    await state.set("soon gone", 1, ttl=1.0)
    async with state.lock("start"):
        metrics.counter("starts").inc()
        metrics.histogram("seconds").observe(0.1)
    USED.extend(asyncio.create_task(each()) for each in (lead, listen))

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await use()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.mark.alone
def test_eight_idle_workers_cost_next_to_nothing_and_no_thread_wakes_up_often(
    cluster: Cluster,
) -> None:
    cluster.start("-w", "8", "--no-access-log")
    _check_that_it_is_idle(cluster)


@pytest.mark.alone
def test_who_answers_probes_and_operators_costs_nothing_while_nobody_asks(
    cluster: Cluster,
) -> None:
    listens = ("--health", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    cluster.start("-w", "8", "--no-access-log", *listens)
    _check_that_it_is_idle(cluster, processes=10)


@pytest.mark.alone
def test_what_workers_share_costs_next_to_nothing_while_nobody_uses_it(cluster: Cluster) -> None:
    (cluster.directory / "app.py").write_text(SHARING)
    cluster.start("-w", "8", "--no-access-log")
    _check_that_it_is_idle(cluster)


def _check_that_it_is_idle(cluster: Cluster, processes: int = 9) -> None:
    pids = family(cluster.pid)
    assert len(pids) == processes
    ready = cluster.status()["uptime"]
    cluster.until(lambda status: status["uptime"] > ready + 2.0)  # the last of the start is over
    # What else the machine does only ever adds to it.
    least = min(_spend(pids) for _ in range(2))
    assert family(cluster.pid) == pids
    assert least < 0.005 * SLACK


def _spend(pids: list[int]) -> float:
    """Share of a processor that they take."""
    threads = {pid: by_thread(pid) for pid in pids}
    before, began = Spent.by(pids), time.monotonic()
    time.sleep(SECONDS)  # doing nothing is what is measured
    spent, took = Spent.by(pids) - before, time.monotonic() - began
    for pid in pids:
        for thread, after in by_thread(pid).items():
            # A timer of 250 ms is 4 a second; one of 100 ms, as uvicorn has, would be 10.
            assert (after - threads[pid][thread]).wakeups / took < 8
    return spent.cpu_ns / took / 1e9


@pytest.mark.alone
def test_a_worker_is_ready_soon_after_its_application_is_imported(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import app"], cwd=cluster.directory, check=True)
    imported = time.monotonic() - began
    for _ in range(2):
        cluster.ask("recycle", slots=[0])
    boots = [event["seconds"] for event in cluster.of("WorkerReady")]
    assert len(boots) == 3
    assert min(boots) < imported + 0.2 * SLACK
