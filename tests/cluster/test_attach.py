"""Processes that are no workers get a seat, and give it back when they end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tercio.cluster.attachment import attach
from tercio.dataplane.scoreboard import Field, Row, Scoreboard
from tercio.errors import NoCluster
from tercio.options import ATTACH_VARIABLE
from tests.cluster.harness import Cluster
from tests.worker.rig import until

NewCluster = Callable[[], Cluster]

HOLD = """
import sys
from tercio.cluster.attachment import join_attached
joined = join_attached(sys.argv[1])
print(joined.seat.number, flush=True)
sys.stdin.read()
"""

CLUMSY = """
import os, resource, sys
from tercio.cluster.attachment import join_attached
from tercio.errors import NoCluster
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
for _ in range(40):
    try:
        join_attached(sys.argv[1])
    except NoCluster as error:
        assert "too few files" in str(error) or "cannot be used" in str(error), error
    else:
        raise AssertionError("it could attach")
print(len(os.listdir("/proc/self/fd")), flush=True)
sys.stdin.read()
"""


def holder(cluster: Cluster, code: str = HOLD) -> "tuple[subprocess.Popen[str], str]":
    """A process that stays attached until its input ends, and what it says."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(cluster.control.parent)],
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
    with closing(attached):
        board = Scoreboard.attach(attached.shared["scoreboard"])
        assert {row[Field.PID] for row in board if row[Field.PID]} == set(cluster.pids().values())
        cluster.until(lambda status: board.totals()[Field.REQUESTS] >= 1)
        assert attached.options["workers"] == 2


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


def test_a_process_that_cannot_map_the_memory_keeps_no_seat(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--attached", "2")
    clumsy, descriptors = holder(cluster, CLUMSY)
    assert int(descriptors) < 10, "what could not be used was not closed"
    others = [holder(cluster) for _ in range(2)]
    assert all(seat for _, seat in others), "the seats are gone"
    for process, _ in [(clumsy, ""), *others]:
        leave(process)


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


WRITER = """
import asyncio
from tercio import cluster

async def main():
    print("writing", flush=True)
    while True:
        await cluster.state.set("large", "x" * 1_000_000)

asyncio.run(main())
"""


def stop_inside_a_write(writer: "subprocess.Popen[str]", row: Row) -> None:
    """It is stopped, for good, as it holds the state's write lock."""
    while True:
        until(lambda: row[Field.STATE_HOLDING] != 0, "it does not write")
        os.kill(writer.pid, signal.SIGSTOP)
        # Only then does it do nothing more: it may still have been on its way out of the write.
        seen = os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert seen is not None
        assert seen.si_code == os.CLD_STOPPED, "the writer has ended"
        if row[Field.STATE_HOLDING]:
            return
        os.kill(writer.pid, signal.SIGCONT)


def test_an_attached_process_that_is_stopped_while_it_writes_is_killed(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    environ = {**cluster.environ, ATTACH_VARIABLE: str(cluster.control.parent)}
    with (
        closing(attach(str(cluster.control.parent))) as shared,
        subprocess.Popen(
            [sys.executable, "-c", WRITER], env=environ, stdout=subprocess.PIPE, text=True
        ) as writer,
    ):
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            board = Scoreboard.attach(shared.shared["scoreboard"])
            attached = cluster.until(
                lambda status: any(each["pid"] == writer.pid for each in status["attached"])
            )["attached"]
            (seat,) = (each["seat"] for each in attached if each["pid"] == writer.pid)
            stop_inside_a_write(writer, board.row(seat))
            killed = cluster.wait("AttachedKilled")
            assert killed["pid"] == writer.pid
            assert writer.wait(60) == -signal.SIGKILL
        finally:
            writer.kill()  # else the block would wait for it
    cluster.until(lambda status: not status["attached"])
