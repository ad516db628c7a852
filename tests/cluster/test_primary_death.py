"""SIGKILL of the primary: all that belongs to it is gone at once, and a new start needs no help."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.chaos.tiers import SLACK, luck, trials
from tests.cluster.harness import QUICK, Cluster, is_free
from tests.cluster.programs import faulty
from tests.cluster.releases import release
from tests.ports import free_port

GONE_WITHIN: Final = 2.0 * SLACK
"""Seconds until no process of a killed primary lives."""


def successor_of(cluster: Cluster, new_cluster: Callable[[], Cluster]) -> Cluster:
    """A cluster in the same directories, as somebody would start it again."""
    again = new_cluster()
    again.directory, again.runtime = cluster.directory, cluster.runtime
    return again


def kill_and_look(cluster: Cluster, port: int) -> float:
    """SIGKILL the primary; return the seconds until nothing of it was left."""
    cluster.signal(signal.SIGKILL)
    began = time.monotonic()
    cluster.wait_end()
    cluster.wait_no_processes(GONE_WITHIN)
    assert is_free(port)
    return time.monotonic() - began


@pytest.mark.chaos("C02")
def test_a_primary_killed_at_any_instant_leaves_nothing_and_the_next_one_starts(
    new_cluster: Callable[[], Cluster],
) -> None:
    chance = luck("C02")
    port = free_port()
    cluster = new_cluster()
    cluster.write_app(release("one"))
    worst = 0.0
    for number in trials("C02", 20, 200, 1000):
        cluster = successor_of(cluster, new_cluster)
        options = ("--port", str(port), "--name", "one", "-w", str(1 + number % 2))
        is_followed = number % 5 == 4  # so that every fifth must come up after a kill
        cluster.start(*options, wait="ClusterReady" if is_followed else "")
        if not is_followed:
            time.sleep(chance.uniform(0, 0.8))  # the fault's moment
        assert not cluster.has_ended(), cluster.story()
        worst = max(worst, kill_and_look(cluster, port))
    print(f"gone within {worst:.2f} s")
    cluster = successor_of(cluster, new_cluster)
    began = time.monotonic()
    cluster.start("--port", str(port), "--name", "one", "-w", "1")
    assert time.monotonic() - began < 3 * SLACK
    assert cluster.get().status == 200
    assert cluster.stop() == 0


@pytest.mark.chaos("C02")
@pytest.mark.parametrize("way", ["idle", "block/1000", "gil", "endless", "stopped", "fork"])
def test_whatever_a_worker_does_it_ends_with_its_primary(cluster: Cluster, way: str) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", "--blocked-kill", "0", "--stopped-kill", "0")
    (worker,) = cluster.pids().values()
    connection = socket.create_connection(("127.0.0.1", cluster.port), timeout=30)
    if way == "stopped":
        os.kill(worker, signal.SIGSTOP)
        wait_until_stopped(worker)
    elif way == "fork":
        assert cluster.get("/fork").status == 200
        assert len(cluster.living()) == 3
    elif way != "idle":
        connection.sendall(f"GET /{way} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        cluster.until(lambda status: status["workers"][0]["in_flight"] == 1)
    with connection:
        kill_and_look(cluster, cluster.port)


def wait_until_stopped(pid: int) -> None:
    """Wait until all threads of a process have stopped.

    The kernel continues what its parent leaves behind stopped, not what is about to stop.
    """
    deadline = time.monotonic() + 30
    while any(thread_state(thread) != "T" for thread in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def thread_state(thread: Path) -> str:
    """The letter that the kernel gives the state of a thread."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.chaos("C02")
@pytest.mark.parametrize(
    "text",
    [
        faulty("open('busy', 'w').close(); time.sleep(1000)"),
        faulty("open('busy', 'w').close(); sum(itertools.repeat(1))"),
        faulty(at_startup="open('busy', 'w').close(); await asyncio.sleep(1000)"),
    ],
    ids=["in the import", "in the import, holding the GIL", "in the start-up"],
)
def test_a_worker_that_boots_ends_with_its_primary(
    new_cluster: Callable[[], Cluster], text: str
) -> None:
    port = free_port()
    cluster = new_cluster()
    cluster.write_app(text)
    cluster.start("--port", str(port), "-w", "1", wait="")
    cluster.wait_line("Tercio serves")
    wait_for_file(cluster.directory / "busy")
    kill_and_look(cluster, port)


def wait_for_file(path: Path) -> None:
    """Wait until an application has made a file."""
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)


# During a reload

MOMENTS: Final = ("ReloadStarted", "WorkerReady", "ReloadTrial", "ReloadCommitted")


@pytest.mark.chaos("C03")
def test_a_primary_killed_at_any_stage_of_a_reload_leaves_nothing(
    new_cluster: Callable[[], Cluster],
) -> None:
    port = free_port()
    cluster = new_cluster()
    cluster.write_app(release("one"))
    for _ in trials("C03 primary", 1, 10, 50):
        for moment in MOMENTS:
            cluster = successor_of(cluster, new_cluster)
            cluster.start("--port", str(port), "--name", "one", "-w", "2", *QUICK)
            since = cluster.newest()
            cluster.signal(signal.SIGHUP)
            cluster.wait(moment, since=since)
            kill_and_look(cluster, port)


@pytest.mark.chaos("C03")
def test_a_worker_killed_at_any_stage_of_a_reload_leaves_one_generation(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *QUICK, "--stable-after", "0")
    for _ in trials("C03 worker", 1, 10, 50):
        for moment in MOMENTS[:3]:
            for victim in ("old", "new"):
                kill_during_reload(cluster, moment, victim)
    assert cluster.stop() == 0


def kill_during_reload(cluster: Cluster, moment: str, victim: str) -> None:
    """Kill a worker of the old or the new generation when ``moment`` comes."""
    before = cluster.until(lambda s: s["state"] == "serving" and s["ready"] == 2)["generation"]
    since = cluster.newest()
    cluster.signal(signal.SIGHUP)
    cluster.wait(moment, since=since)
    workers = cluster.status()["workers"]
    is_new = victim == "new"
    pids = [worker["pid"] for worker in workers if (worker["generation"] > before) is is_new]
    if not pids:
        return  # the first successor has no process yet
    os.kill(pids[0], signal.SIGKILL)
    outcome = cluster.wait(
        lambda event: event["kind"] in ("ReloadCommitted", "ReloadRejected"), since=since
    )
    status = cluster.until(lambda s: s["ready"] == 2 and len(s["workers"]) == 2)
    assert {worker["generation"] for worker in status["workers"]} == {status["generation"]}
    if victim == "new":
        assert outcome["kind"] == "ReloadRejected"
        assert status["generation"] == before
    assert cluster.get().status == 200


def test_a_stopped_worker_is_ended_by_its_sibling(cluster: Cluster) -> None:
    """It runs no thread and takes no signal but SIGKILL, so it cannot end itself."""
    cluster.start("-w", "2", *QUICK, "--stopped-kill", "0")
    os.kill(cluster.pids()[0], signal.SIGSTOP)
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.wait_end()
    cluster.wait_no_processes(6.0)
