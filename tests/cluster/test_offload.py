"""Offloaded calls in real workers: bounded for the whole cluster, killed in time, never orphans."""

import json
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster

APP = """
import asyncio, json, os, pathlib, time
from tercio import cluster
from tercio.errors import OffloadError
import jobs

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    status = 200
    query = scope["query_string"].decode()
    match scope["path"]:
        case "/burn":
            answer = await cluster.offload(jobs.burn, float(query))
        case "/where":
            answer = await cluster.offload(jobs.where)
        case "/hold":
            answer = await cluster.offload(jobs.hold, query)
        case "/late":
            try:
                answer = await cluster.offload.within(0.5)(jobs.hold, query)
            except OffloadError as error:
                answer = str(error)
        case "/block":
            answer = jobs.burn(float(query))
        case "/grow":
            answer = await cluster.offload(jobs.grow, int(query))
        case _:
            answer = os.getpid()
    body = json.dumps(answer).encode()
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""

JOBS = """
import asyncio, os, time
from tercio import cluster

held = []

def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()

def where():
    cluster.sync.state.incr("from children")
    return [cluster.mode, os.getpid(), cluster.sync.state.get("from children")]

def hold(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(1)

def grow(size):
    held.append(os.urandom(size))
    return os.getpid()
"""


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    cluster.write_app(APP)
    cluster.write_app(JOBS, "jobs.py")
    return cluster


def test_a_child_belongs_to_the_cluster(ready: Cluster) -> None:
    ready.start(*QUICK, "-w", "2")
    mode, pid, count = json.loads(ready.get("/where").text)
    assert (mode, count) == ("attached", 1)
    assert pid not in ready.pids().values()
    workers = ready.status()["workers"]
    assert [pid] == [child for worker in workers for child in worker["offloaded"]["pids"]]
    assert " MiB + 1: " in ready.tercio("status").stdout


@pytest.mark.alone
def test_no_request_waits_for_an_offloaded_call(ready: Cluster) -> None:
    """Q23: 0 stalled. The burning children share the cores, so the bound is generous."""
    ready.start(*QUICK, "-w", "2", "--blocked-after", "0.5")
    with_children = threading.Thread(target=ready.get, args=("/burn?3",))
    with_children.start()
    worst = 0.0
    while with_children.is_alive():
        began = time.monotonic()
        assert ready.get("/").status == 200
        worst = max(worst, time.monotonic() - began)
    with_children.join()
    assert worst < 1.0
    assert ready.status()["blocked"] == 0


def test_a_call_beyond_its_time_is_killed_and_the_worker_lives(
    ready: Cluster, tmp_path: Path
) -> None:
    ready.start(*QUICK, "-w", "1")
    before = ready.pids()
    answer = json.loads(ready.get(f"/late?{tmp_path / 'pid'}").text)
    assert "hold was killed after 0.5 s" in answer
    assert ready.pids() == before
    assert json.loads(ready.get("/where").text)[0] == "attached"


@pytest.mark.parametrize("who", ["worker", "primary"])
def test_children_end_with_their_worker(ready: Cluster, tmp_path: Path, who: str) -> None:
    ready.start(*QUICK, "-w", "1")
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    asking = threading.Thread(target=_ask, args=(ready, f"/hold?{pipe}"))
    asking.start()
    pidfd = os.pidfd_open(int(pipe.read_text()))
    os.kill(ready.pids()[0] if who == "worker" else ready.pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], PATIENCE)[0], "the child lives on"
    os.close(pidfd)
    asking.join()


def _ask(cluster: Cluster, path: str) -> None:
    try:
        cluster.get(path)
    except OSError:
        pass  # its worker is killed meanwhile


def test_a_reload_takes_the_children_along(ready: Cluster) -> None:
    ready.start(*QUICK, "-w", "1")
    pid = json.loads(ready.get("/where").text)[1]
    pidfd = os.pidfd_open(pid)
    ready.ask("reload")
    assert select.select([pidfd], [], [], PATIENCE)[0], "the child of the old worker lives on"
    os.close(pidfd)
    assert json.loads(ready.get("/where").text)[1] != pid


def test_what_children_take_counts_for_the_memory_limit(ready: Cluster) -> None:
    ready.start(*QUICK, "-w", "1", "--limit-max-memory", "200MB", "--memory-interval", "0.5")
    before = ready.pids()
    ready.get("/grow?250000000")
    recycled = ready.wait("RetirementPlanned")
    assert "memory" in recycled["text"]
    ready.until(lambda status: status["ready"] == 1 and ready.pids() != before)
