"""A worker that is stopped inside a write of the shared state holds up nobody for long."""

import sys
import time

import pytest

from tests.cluster.chaos.tiers import SLACK
from tests.cluster.harness import PATIENCE, QUICK, Cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells who is stopped")

APP = """
import asyncio, os, pathlib, signal, time
from tercio import cluster
from tercio.errors import StateBusy

def stop_inside(table, verb, now):
    table.put(b"khalf", b"written")
    pathlib.Path("stopped").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)

async def count():
    while True:
        await asyncio.sleep(0.01)
        try:
            await cluster.state.incr("n")
        except StateBusy:
            pass
        if cluster.worker.slot == 0 and os.path.exists("stop") and not os.path.exists("stopped"):
            engine = cluster.state._engine
            while not engine._lock.try_now():
                pass
            engine.store.change(stop_inside, None, 0.0)

async def measure():
    loop = asyncio.get_running_loop()
    while not os.path.exists("stopped"):
        await asyncio.sleep(0.01)
    worst, end = 0.0, loop.time() + 0.9  # the kill comes after a second, and a boot follows it
    while loop.time() < end:
        due = loop.time() + 0.01
        await asyncio.sleep(0.01)
        worst = max(worst, loop.time() - due)
    pathlib.Path(f"lag-{os.getpid()}.new").write_text(str(worst))
    os.rename(f"lag-{os.getpid()}.new", f"lag-{os.getpid()}")

async def app(scope, receive, send):
    tasks = [asyncio.create_task(count()), asyncio.create_task(measure())]
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            for task in tasks:
                task.cancel()
            return
"""


@pytest.mark.alone
def test_a_writer_that_is_stopped_is_killed_and_the_others_go_on(cluster: Cluster) -> None:
    cluster.write_app(APP)
    # Nothing else kills here: it is for the others' sake.
    cluster.start("-w", "3", "--stopped-kill", "0", "--blocked-kill", "0", *QUICK)
    before = cluster.pids()
    (cluster.directory / "stop").touch()
    marker = cluster.directory / "stopped"
    limit = time.monotonic() + PATIENCE
    while not marker.exists():
        assert time.monotonic() < limit
        time.sleep(0.001)
    stopped_at = time.monotonic()
    killed = cluster.wait("WorkerKilled")
    took = time.monotonic() - stopped_at
    assert "while it wrote the shared state" in killed["reason"]
    assert str(killed["worker"]).startswith("0.")
    cluster.wait("WorkerReady", count=4)
    cluster.until(lambda status: status["ready"] == 3)
    after = cluster.pids()
    assert {slot for slot in before if before[slot] != after[slot]} == {0}
    files = [cluster.directory / f"lag-{before[slot]}" for slot in (1, 2)]
    lags = [float(file.read_text()) for file in files]
    print(f"killed after {took:.2f} s, lags {lags}")
    # Without our lock in front LMDB's would hold the others' loops until the kill: a second.
    assert all(lag < 0.1 * SLACK for lag in lags), lags
    assert took < 2.0 * SLACK
    assert cluster.of("WorkerSilent") == []
    assert len(cluster.of("WorkerKilled")) == 1
