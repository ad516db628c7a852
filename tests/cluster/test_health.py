"""Workers that hang: seen, named, told apart, and killed only when the limit says so."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.burdens import burdens, line_of
from tests.cluster.chaos.tiers import SLACK, trials
from tests.cluster.harness import QUICK, Cluster, Event
from tests.cluster.load import Load

STALE = 3.0
"""Seconds without a beat after which the primary judges, whatever shorter limit is set."""

TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT = 0x4206, 0x4207
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
pid = int(sys.argv[1])
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, pid, None, None) != 0:
        print("refused:", os.strerror(ctypes.get_errno()), flush=True)
        sys.exit()
os.waitpid(pid, 0x40000000)  # __WALL: until it has stopped
print("traced", flush=True)
sys.stdin.read()  # whoever ends lets go, and the traced process goes on
"""


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """A debugger that has stopped a process."""
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tracer:
        assert tracer.stdout is not None
        said = tracer.stdout.readline()
        if said != "traced\n":
            pytest.skip(f"this machine lets no process trace another: {said}")
        yield


@contextmanager
def asked(cluster: Cluster, *paths: str) -> Iterator[list[str]]:
    """Requests in the background; the answers, or why there is none, at the end."""
    answers: list[str] = []

    def ask(path: str) -> None:
        try:
            answers.append(cluster.get(path).text)
        except OSError as error:
            answers.append(f"no answer: {error}")

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        for thread in threads:
            thread.join()


def about(worker: str, kind: str) -> Callable[[Event], bool]:
    """Accepts events of a kind about one worker."""
    return lambda event: event["kind"] == kind and event["worker"] == worker


def pass_time(cluster: Cluster, seconds: float) -> None:
    """Wait until the primary has lived this much longer, and so has judged so often."""
    before = cluster.status()["uptime"]
    cluster.until(lambda status: status["uptime"] > before + seconds)


@pytest.mark.chaos("C05")
def test_a_blocked_loop_is_named_within_a_second_and_costs_only_itself(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "2", *QUICK)
    before = cluster.pids()
    for number in trials("C05", 1, 10, 30):
        began = time.time()
        with asked(cluster, "/block/3.2") as answers:
            blocked = cluster.wait("WorkerBlocked", number + 1)
            assert blocked["time"] - began < 1.0 * SLACK
            assert blocked["culprit"] == f"app.py:{line_of('here it blocks')} in block"
            assert "time.sleep(float(amount))" in blocked["stack"]
            others = {cluster.get(timeout=1.0 * SLACK).pid for _ in range(20)}
            assert len(others) == 1  # the free one took them all
        pid = int(answers[0].split()[1])
        assert {pid} | others == set(before.values())
        over = cluster.wait("WorkerUnblocked", number + 1)
        assert over["worker"] == blocked["worker"]
        assert 3.2 <= over["seconds"] < 3.2 + 1.0 * SLACK
    # More than the default of --blocked-kill allows it to be suspected, far less than it takes.
    assert cluster.pids() == before
    status = cluster.status()
    assert status["blocked"] == sum(worker["blocked"] for worker in status["workers"])
    assert status["blocked"] == len(cluster.of("WorkerBlocked"))
    assert status["blocked_seconds"] >= 3.2
    assert cluster.lines[-1]
    cluster.wait_line(f"blocked for {blocked['seconds']:.1f} s at app.py")


@pytest.mark.chaos("C05")
def test_a_lock_and_c_code_that_hold_a_worker_are_told_apart_and_end_at_the_limit(
    cluster: Cluster,
) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "3", *QUICK, "--blocked-kill", "4")
    before = cluster.pids()
    with asked(cluster, "/lock"):
        blocked = cluster.wait("WorkerBlocked")
        began = time.time()
        with asked(cluster, "/gil") as answers:
            silent = cluster.wait("WorkerSilent")
            stack = cluster.wait(about(silent["worker"], "WorkerStack"))
            first = cluster.wait(about(blocked["worker"], "WorkerKilled"))
            second = cluster.wait(about(silent["worker"], "WorkerKilled"))
            assert cluster.get(timeout=1.0 * SLACK).status == 200
        assert answers[0].startswith("no answer")
    assert blocked["culprit"] == f"app.py:{line_of('here it waits for a lock')} in lock"
    assert silent["verdict"] == "silent"
    assert silent["worker"] != blocked["worker"]
    assert f"line {line_of('here C code never lets go')} in gil" in stack["stack"]
    assert len(cluster.of("WorkerBlocked")) == len(cluster.of("WorkerSilent")) == 1
    assert first["reason"].startswith("event loop blocked for 4 s")
    assert second["reason"].startswith("no Python ran for 4 s")
    assert second["time"] - began < 4.0 + 1.0 * SLACK
    for event in (first, second):
        died = cluster.wait(about(event["worker"], "WorkerDied"))
        assert died["lost_requests"] == 1
        assert died["text"].endswith("1 request was lost")
    after = cluster.until(lambda status: status["ready"] == 3 and len(status["workers"]) == 3)
    kept = {worker["pid"] for worker in after["workers"]} & set(before.values())
    assert len(kept) == 1


def test_with_blocked_kill_0_a_blocked_worker_is_left_alone(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "1", *QUICK, "--blocked-kill", "0")
    before = cluster.pids()
    with asked(cluster, "/block/4.5") as answers:
        cluster.wait("WorkerBlocked")
    assert answers == [f"one {before[0]}"]
    assert not cluster.of("WorkerKilled")


@pytest.mark.chaos("C04")
def test_a_stopped_worker_is_killed_and_one_in_a_debugger_is_not(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "3", *QUICK, "--stopped-kill", "4", "--blocked-kill", "4")
    boot = cluster.first("ClusterReady")["seconds"]
    with traced(cluster.pids()[0]):
        for number in trials("C04", 1, 10, 50):
            before = cluster.pids()
            with Load(cluster.port, fresh=2) as load:
                load.wait_for(10)
                began = time.time()
                os.kill(before[1], signal.SIGSTOP)
                silent = cluster.wait("WorkerSilent", number + 1)
                assert silent["verdict"] == "stopped"
                killed = cluster.wait("WorkerKilled", number + 1)
                assert "--stopped-kill" in killed["reason"]
                cluster.until(_has_replaced(before[1]))
                assert time.time() - began < (4.0 + boot + 0.5) * SLACK
                load.wait_for(10)
            assert len(load.failures) <= 2  # what the two clients had in the stopped worker
            after = cluster.pids()
            assert {slot: after[slot] for slot in (0, 2)} == {s: before[s] for s in (0, 2)}
        # The traced one stood still for longer than the stopped one.
        assert {event["worker"] for event in cluster.of("WorkerKilled")} == {
            f"1.{number + 1}" for number in range(len(cluster.of("WorkerKilled")))
        }
        assert not cluster.of("WorkerBlocked")
    pass_time(cluster, 1.0)
    assert cluster.pids()[0] == before[0]
    with Load(cluster.port, fresh=8, think=0) as load:
        while before[0] not in load.tally.pids:
            load.wait_for(20)
    assert not load.failures


def _has_replaced(old: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: (
        status["ready"] == 3 and all(worker["pid"] != old for worker in status["workers"])
    )


def test_who_was_stopped_itself_judges_nobody(new_cluster: Callable[[], Cluster]) -> None:
    clusters = [new_cluster(), new_cluster()]
    for cluster in clusters:
        cluster.write_app(burdens())
        cluster.start("-w", "2", *QUICK, "--blocked-kill", "1", "--stopped-kill", "1")
    alone, together = clusters
    before = [cluster.pids() for cluster in clusters]
    stopped = [alone.pid, together.pid, *before[1].values()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(STALE + 1.5)  # the fault itself
    for pid in stopped:  # the primary first: its workers' beats are as old as its own last look
        os.kill(pid, signal.SIGCONT)
    for cluster in clusters:
        pass_time(cluster, 2.0)
        for kind in ("WorkerKilled", "WorkerBlocked", "WorkerDied"):
            assert not cluster.of(kind)
    assert [cluster.pids() for cluster in clusters] == before


def test_a_dump_shows_what_a_worker_does_without_disturbing_it(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "2", *QUICK)
    before = cluster.pids()
    with asked(cluster, "/block/2.5") as answers:
        blocked = cluster.wait("WorkerBlocked")
        busy = int(blocked["worker"].partition(".")[0])
        text = cluster.ask("dump", slot=busy)["text"]
        assert f"line {line_of('here it blocks')}, in block" in text
        assert "the event loop does not answer" in text
        assert not answers
        idle = cluster.ask("dump", slot=1 - busy)["text"]
    assert "Task background: wait_for_ever" in idle
    assert "here it blocks" not in idle
    assert answers == [f"one {before[busy]}"]
    assert cluster.pids() == before
    shown = cluster.tercio("dump", str(busy)).stdout
    assert "Task background: wait_for_ever" in shown


def test_what_a_worker_had_that_could_not_drain_counts_as_cut(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    cluster.start("-w", "2", *QUICK, "--stop-timeout", "0.5", "--kill-grace", "0.5")
    with asked(cluster, "/block/60") as answers:
        blocked = cluster.wait("WorkerBlocked")
        assert cluster.stop() == 0
    assert answers[0].startswith("no answer")
    (cut,) = cluster.of("RequestsCut")
    assert (cut["worker"], cut["requests"], cut["websockets"]) == (blocked["worker"], 1, 0)
    assert cluster.first("Stopped")["cut_requests"] == 1
    assert cluster.first("Stopped")["text"] == "stopped; cut 1 requests and 0 WebSockets"
