"""The first things: it serves, it stops, and it says what it does."""

import os
import signal
from pathlib import Path

from tests.cluster.harness import QUICK, Cluster


def test_four_workers_serve_on_one_port_and_stop_cleanly(cluster: Cluster) -> None:
    cluster.start("-w", "4", *QUICK)
    assert len(set(cluster.pids().values())) == 4
    assert cluster.get().text.startswith("one ")
    assert cluster.stop() == 0
    assert cluster.of("Stopped")[0]["cut_requests"] == 0


def test_the_primary_never_serves(cluster: Cluster) -> None:
    cluster.start("-w", "2")
    answers = {cluster.get().pid for _ in range(20)}
    assert cluster.pid not in answers
    assert answers <= set(cluster.pids().values())


def test_the_primary_runs_on_the_standard_library_alone(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    maps = Path(f"/proc/{cluster.pid}/maps").read_text()
    for library in ("uvloop", "httptools", "websockets", "click"):
        assert library not in maps


def test_a_worker_that_exits_with_any_status_is_only_a_dead_worker(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK)
    before = cluster.pids()
    os.kill(before[0], signal.SIGKILL)
    cluster.wait("WorkerDied")
    cluster.until(lambda status: status["ready"] == 2)
    after = cluster.pids()
    assert after[1] == before[1]
    assert after[0] != before[0]
