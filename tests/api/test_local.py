"""The calls in a plain process: no cluster, nothing to start."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tercio import cluster
from tercio.errors import StateError
from tests.offload import work


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with cluster.fresh():
        yield


async def test_a_plain_process_has_a_state_a_bus_and_metrics_of_its_own() -> None:
    assert cluster.mode == "local"
    assert cluster.worker.id == "0.0"
    assert [await cluster.state.incr("hits") for _ in range(3)] == [1, 2, 3]
    async with cluster.bus.subscribe("chat.*") as messages:
        cluster.bus.publish("chat.general", {"text": "hi"})
        async for message in messages:
            assert message == {"text": "hi"}
            break
    cluster.metrics.counter("orders_total", labels=("kind",)).inc(2, kind="book")
    totals = await cluster.metrics.totals()
    assert totals.value("orders_total", kind="book") == 2
    assert 'orders_total{kind="book"} 2.0' in cluster.metrics.text()
    assert await cluster.offload(work.add, 1, 2) == 3


async def test_who_waits_for_a_lock_is_woken_by_who_lets_it_go() -> None:
    order: list[str] = []
    first = cluster.state.lock("door", ttl=30)
    async with first:
        waiting = asyncio.create_task(_enter(order))
        await asyncio.sleep(0)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def _enter(order: list[str]) -> None:
    async with cluster.state.lock("door", ttl=30):
        order.append("second")


async def test_one_leads() -> None:
    async with cluster.leader("nightly") as lease:
        assert lease.token is not None
        first = lease.token
    async with cluster.leader("nightly") as lease:
        assert lease.token > first


def test_secrets_are_the_same_for_all_who_ask() -> None:
    secret = cluster.secret("session")
    assert cluster.secret("session") == secret
    new = cluster.rotate_secret("session")
    assert cluster.secrets("session") == (new, secret)


def test_threads_use_the_twins() -> None:
    assert cluster.sync.state.incr("hits") == 1
    assert cluster.sync.offload(work.add, 1) == 1
    cluster.sync.bus.publish("nobody.hears", 1)


async def test_a_twin_in_an_event_loop_is_refused() -> None:
    with pytest.raises((RuntimeError, StateError), match="await"):
        cluster.sync.state.incr("hits")


def test_several_event_loops_one_after_the_other_share_it() -> None:
    async def hit() -> int:
        async with cluster.bus.subscribe("news") as messages:
            cluster.bus.publish("news", 1)
            async for _ in messages:
                break
        return await cluster.state.incr("hits")

    assert [asyncio.run(hit()) for _ in range(3)] == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_of_a_plain_process_starts_with_nothing() -> None:
    code = """
import asyncio, os
from tercio import cluster
assert cluster.sync.state.incr("hits") == 1
pid = os.fork()
answer = cluster.sync.state.incr("hits")
if pid == 0:
    os._exit(answer)
assert answer == 2
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def run(code: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_cluster_can_be_insisted_on() -> None:
    done = run("from tercio import cluster; cluster.state", TERCIO_REQUIRE="1")
    assert "NotInCluster: this process is no worker of a cluster" in done.stderr
    assert "tercio exec" in done.stderr


def test_it_is_said_once_that_this_process_is_alone() -> None:
    code = (
        "import logging; logging.basicConfig(level=20); from tercio import cluster;"
        "cluster.state; cluster.bus; cluster.mode"
    )
    assert run(code).stderr.count("it belongs to no cluster") == 1


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'stat'"):
        cluster.stat  # type: ignore[attr-defined]  # noqa: B018
