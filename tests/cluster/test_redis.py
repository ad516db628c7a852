"""Two clusters, as on two machines, over one Redis server."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.engines.redis.valkey import Valkey

APP = """
import json, os
from tercio import cluster

heard = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        cluster.bus.on("news.*", lambda topic, message: heard.append(message))
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = json.dumps([os.getpid(), heard]).encode()
    if scope["path"] == "/publish":
        cluster.bus.publish("news.web", scope["query_string"].decode())
        await cluster.bus.flush()
    elif scope["path"] == "/count":
        body = b"%d" % await cluster.state.incr("n")
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def server() -> Iterator[Valkey]:
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        made = Valkey(Path(directory))
        yield made
        made.kill()


@pytest.fixture
def two(new_cluster: Callable[[], Cluster], server: Valkey) -> list[Cluster]:
    clusters = [new_cluster(), new_cluster()]
    for one in clusters:
        one.write_app(APP)
        one.start(*QUICK, "-w", "2", "--redis", server.url, "--redis-required")
    return clusters


def heard_by(cluster: Cluster) -> dict[int, list[str]]:
    """What each worker that serves has heard, by pid."""
    wanted = set(cluster.pids().values())
    found: dict[int, list[str]] = {}
    for _ in range(1000):
        if found.keys() >= wanted:
            break
        pid, heard = json.loads(cluster.get("/").text)
        found[pid] = heard
    return {pid: found[pid] for pid in wanted}


def hear_of_each_other(speaking: Cluster, hearing: Cluster) -> None:
    """Speak until all workers of the other have heard one and the same message."""
    end = time.monotonic() + PATIENCE
    number = 0
    while time.monotonic() < end:
        number += 1
        speaking.get(f"/publish?{number}-{id(hearing)}")
        for _ in range(5):
            if all(f"{number}-{id(hearing)}" in heard for heard in heard_by(hearing).values()):
                return
    pytest.fail(f"{number} messages were not heard by all: {heard_by(hearing)}")


def test_two_clusters_count_and_speak_together(two: list[Cluster]) -> None:
    counted = [int(two[number % 2].get("/count").text) for number in range(20)]
    assert counted == list(range(1, 21))
    hear_of_each_other(two[0], two[1])
    hear_of_each_other(two[1], two[0])
    for one in two:
        for heard in heard_by(one).values():
            assert len(heard) == len(set(heard))  # nothing came twice


def test_a_killed_bridge_is_followed_by_another_worker(two: list[Cluster]) -> None:
    hear_of_each_other(two[0], two[1])
    for slot in (0, 1):  # one of them is the bridge
        pid = two[1].pids()[slot]
        os.kill(pid, signal.SIGKILL)
        two[1].until(lambda status, pid=pid: len(set(two[1].pids().values()) - {pid}) == 2)  # type: ignore[misc]
        hear_of_each_other(two[0], two[1])


def test_workers_serve_on_while_the_server_is_away(two: list[Cluster], server: Valkey) -> None:
    hear_of_each_other(two[0], two[1])
    pids = two[1].pids()
    server.kill()
    assert two[0].get("/count").status == 500
    assert two[0].get("/").status == 200
    server.start()
    end = time.monotonic() + PATIENCE
    while two[0].get("/count").status != 200:
        assert time.monotonic() < end
    hear_of_each_other(two[0], two[1])
    assert two[1].pids() == pids
