"""Q21: workers share state, exactly, whatever happens to one of them."""

import asyncio
import os
import signal
from pathlib import Path

from tests.cluster.counting import ask_often
from tests.cluster.harness import QUICK, Cluster

APP = """
import os
from tercio import cluster

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    match scope["path"]:
        case "/hit":
            answer = await cluster.state.incr("hits")
        case "/value":
            answer = await cluster.state.get("hits", 0, type=int)
        case "/fail":
            await cluster.state.incr("failures")
            raise RuntimeError("on purpose")
        case _:
            answer = os.getpid()
    body = str(answer).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


def started(cluster: Cluster, *options: str) -> Cluster:
    cluster.write_app(APP)
    return cluster.start(*QUICK, *options)


def test_20000_increments_over_4_workers_are_exact(cluster: Cluster) -> None:
    started(cluster, "-w", "4")
    counted = asyncio.run(ask_often(cluster.port, "/hit", connections=32, requests=625))
    assert counted.statuses == {200: 20_000}
    assert sorted(map(int, counted.answers)) == list(range(1, 20_001))
    busy = [worker for worker in cluster.status()["workers"] if worker["requests"]]
    assert len(busy) > 1, "one worker did it all: nothing was shared"


def test_a_killed_worker_loses_no_acknowledged_increment(cluster: Cluster) -> None:
    started(cluster, "-w", "4")

    async def ask_and_kill() -> tuple[int, int]:
        asking = asyncio.create_task(
            ask_often(cluster.port, "/hit", connections=16, requests=1500, ahead=1)
        )
        while not asking.done():
            status = await asyncio.to_thread(cluster.status)
            busiest = max(status["workers"], key=lambda worker: worker["connections"])
            if not busiest["connections"]:
                continue  # the clients are only just coming, or are done
            pid = busiest["pid"]
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(_until_replaced, cluster, pid, 4)
        counted = asking.result()
        assert set(counted.statuses) == {200}
        return len(counted.answers), counted.lost

    acknowledged, lost = asyncio.run(ask_and_kill())
    final = int(cluster.get("/value").text)
    assert acknowledged <= final <= acknowledged + lost
    assert lost > 0, "no kill hit a request: the test shows nothing"


def _until_replaced(cluster: Cluster, pid: int, workers: int) -> None:
    cluster.until(
        lambda status: (
            status["ready"] == workers
            and pid not in {worker.get("pid") for worker in status["workers"]}
        )
    )


def test_the_value_survives_restarts_and_reloads(cluster: Cluster) -> None:
    started(cluster, "-w", "2")
    for _ in range(5):
        cluster.get("/hit")
    for pid in cluster.pids().values():
        os.kill(pid, signal.SIGKILL)
        _until_replaced(cluster, pid, 2)
    assert cluster.get("/value").text == "5"
    cluster.ask("reload")
    assert cluster.get("/value").text == "5"


def test_an_exception_is_a_500_and_the_worker_lives(cluster: Cluster) -> None:
    started(cluster, "-w", "1")
    before = cluster.pids()
    assert [cluster.get("/fail").status for _ in range(3)] == [500] * 3
    assert cluster.pids() == before
    assert cluster.get("/hit").text == "1"


def test_a_state_directory_keeps_it_over_a_full_restart(cluster: Cluster, tmp_path: Path) -> None:
    options = ("-w", "2", "--state-dir", str(tmp_path / "state"))
    started(cluster, *options)
    for _ in range(3):
        cluster.get("/hit")
    assert cluster.stop() == 0
    cluster.start_again(*QUICK, *options)
    assert cluster.get("/value").text == "3"
