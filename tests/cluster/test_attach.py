"""Processes that are no workers get a seat, and give it back when they end."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tercio.cluster.attachment import attach
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.errors import NoCluster
from tests.cluster.harness import Cluster

NewCluster = Callable[[], Cluster]

HOLD = """
import sys
from tercio.cluster.attachment import attach
attached = attach(sys.argv[1])
print(attached.seat, flush=True)
sys.stdin.read()
"""


def holder(cluster: Cluster) -> "tuple[subprocess.Popen[str], str]":
    """A process that stays attached until its input ends, and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(cluster.control.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def leave(process: "subprocess.Popen[str]") -> str:
    return process.communicate(timeout=60)[1]


def test_an_attached_process_sees_the_memory_of_the_workers(cluster: Cluster) -> None:
    cluster.start("-w", "2")
    cluster.get()
    attached = attach(str(cluster.control.parent))
    with attached.connection:
        board = Scoreboard.attach(attached.shared["scoreboard"])
        assert {row[Field.PID] for row in board if row[Field.PID]} == set(cluster.pids().values())
        cluster.until(lambda status: board.totals()[Field.REQUESTS] >= 1)
        assert attached.options["workers"] == 2
        board.close()


def test_seats_are_bounded_and_come_back_with_the_end_of_a_process(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--attached", "2")
    (one, first), (two, second) = holder(cluster), holder(cluster)
    assert first != second
    third, said = holder(cluster)
    assert said == ""
    assert "2 processes are attached already: raise --attached" in leave(third)
    assert {each["pid"] for each in cluster.status()["attached"]} == {one.pid, two.pid}
    one.kill()
    leave(one)
    cluster.until(lambda status: len(status["attached"]) == 1)
    four, said = holder(cluster)
    assert said == first
    leave(two)
    leave(four)
    cluster.until(lambda status: not status["attached"])


def test_a_stop_does_not_wait_for_who_is_attached(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    process, _ = holder(cluster)
    assert cluster.stop() == 0
    leave(process)


def test_without_a_cluster_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match=f"no cluster can be attached to at {tmp_path}"):
        attach(str(tmp_path))
    with pytest.raises(NoCluster, match="no cluster called 'none-such' is running; looked in"):
        attach("none-such")
