"""What each signal does, to the primary and to a worker; and a primary that was not running."""

import os
import pty
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.chaos.tiers import trials
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.load import Load
from tests.cluster.programs import faulty
from tests.cluster.releases import release

_TAKE_TERMINAL: Final = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""

WITH_TERMINAL: Final = (sys.executable, "-c", _TAKE_TERMINAL)
"""Takes standard input as the controlling terminal, and runs a command."""


# Those of the primary


def test_quit_shows_the_stacks_of_all_workers_and_stops(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2")
    cluster.signal(signal.SIGQUIT)
    assert cluster.wait_end() == 0
    stacks = cluster.of("WorkerStack")
    assert {event["worker"] for event in stacks} == {"0.1", "1.1"}
    assert all("Thread 0x" in event["stack"] for event in stacks)
    assert sum("Thread 0x" in line for line in cluster.lines) >= 2


def test_usr2_reloads_and_usr1_harms_nobody(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *QUICK)
    before = cluster.pids()
    cluster.signal(signal.SIGUSR1)
    cluster.write_app(release("two"))
    assert cluster.pids() == before
    cluster.signal(signal.SIGUSR2)
    cluster.wait("ReloadCommitted")
    assert cluster.get().text.startswith("two")


def test_ttin_and_ttou_scale_by_one_and_never_below_one(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *QUICK)
    (first,) = cluster.pids().values()
    cluster.signal(signal.SIGTTIN)
    cluster.until(lambda status: status["ready"] == 2)
    cluster.signal(signal.SIGTTOU)
    cluster.until(lambda status: status["target"] == 1 and len(status["workers"]) == 1)
    cluster.signal(signal.SIGTTOU)
    cluster.wait("ScaleRefused")
    assert cluster.pids() == {0: first}


# Those of a worker


def test_a_worker_that_is_told_to_go_from_outside_is_replaced_before_it_goes(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *QUICK)
    before = cluster.pids()
    with Load(cluster.port, fresh=1, kept=2, posts=1) as load:
        load.wait_for(20)
        os.kill(before[0], signal.SIGTERM)
        cluster.wait("WorkerLeft")
        load.wait_for(20)
    after = cluster.pids()
    assert after.keys() == before.keys()
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert load.failures == []
    assert "SIGTERM from outside" in cluster.first("RetirementPlanned")["reason"]
    served = next(e for e in cluster.of("WorkerServing") if e["worker"] == "0.2")
    drained = next(e for e in cluster.of("WorkerDraining") if e["worker"] == "0.1")
    assert served["sequence"] < drained["sequence"]
    assert not cluster.of("WorkerDied")


def test_all_workers_told_to_go_at_once_go_one_after_the_other(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "3", *QUICK)
    before = cluster.pids()
    with Load(cluster.port, fresh=1, kept=1) as load:
        for pid in before.values():
            os.kill(pid, signal.SIGTERM)
        cluster.wait("WorkerLeft", 3)
        load.wait_for(10)
    assert load.failures == []
    assert not set(cluster.pids().values()) & set(before.values())
    ready = 3
    for event in cluster.events[cluster.events.index(cluster.first("ClusterReady")) :]:
        ready += {"WorkerServing": 1, "WorkerDraining": -1}.get(event["kind"], 0)
        assert ready >= 3


def test_ctrl_c_that_reaches_a_worker_is_the_primarys_business(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1")
    before = cluster.pids()
    os.kill(before[0], signal.SIGINT)
    assert cluster.get().status == 200
    assert cluster.pids() == before


# The terminal


@pytest.fixture
def terminal() -> Iterator[list[int]]:
    """A terminal: our end, and the one that a program has. Who closes an end takes it out."""
    ends = list(pty.openpty())
    yield ends
    for end in ends:
        os.close(end)


def close(terminal: list[int]) -> None:
    """Close the window."""
    while terminal:
        os.close(terminal.pop())


def test_a_hang_up_whose_terminal_is_gone_means_stop(cluster: Cluster, terminal: list[int]) -> None:
    cluster.start("-w", "1", prefix=WITH_TERMINAL, stdin=terminal[1])
    close(terminal)
    assert cluster.wait_end() == 0
    assert cluster.of("StopStarted")


def test_a_hang_up_with_its_terminal_in_place_means_reload(
    cluster: Cluster, terminal: list[int]
) -> None:
    cluster.start("-w", "1", *QUICK, prefix=WITH_TERMINAL, stdin=terminal[1])
    cluster.signal(signal.SIGHUP)
    cluster.wait("ReloadCommitted")
    assert not cluster.of("StopStarted")


def test_under_nohup_a_cluster_outlives_its_terminal_and_still_reloads(
    cluster: Cluster, terminal: list[int]
) -> None:
    cluster.start("-w", "1", *QUICK, prefix=(*WITH_TERMINAL, "nohup"), stdin=terminal[1])
    close(terminal)
    wait_until_without_terminal(cluster.pid)
    assert cluster.get().status == 200
    # A person asks, twice: the first time may be taken for the terminal's own hang-up.
    for _ in range(2):
        cluster.signal(signal.SIGHUP)
        assert cluster.status()["state"] != "stopping"
    cluster.wait("ReloadCommitted")
    assert not cluster.of("StopStarted")


def wait_until_without_terminal(pid: int) -> None:
    """Wait until the kernel has taken the terminal away."""
    deadline = time.monotonic() + 30
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Time that went by while nobody looked

PAUSE: Final = 2.5
"""Seconds; all limits below are shorter."""

STRICT: Final = (
    "--sample-interval", "0.2", "--blocked-kill", "1", "--stopped-kill", "1",
    "--blocked-after", "0.5",
)  # fmt: skip


@pytest.mark.chaos("C31")
def test_a_primary_that_did_not_run_judges_nobody(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *STRICT)
    before = cluster.pids()
    for _ in trials("C31 primary", 1, 5, 20):
        cluster.signal(signal.SIGSTOP)
        time.sleep(PAUSE)  # the suspension
        cluster.signal(signal.SIGCONT)
        assert cluster.get().status == 200
        look_again(cluster)
    assert cluster.pids() == before
    assert not cluster.of("WorkerKilled")


@pytest.mark.chaos("C31")
def test_a_machine_that_was_suspended_costs_no_worker(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *STRICT)
    before = cluster.pids()
    everybody = cluster.living()
    for _ in trials("C31 all", 1, 5, 20):
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE)  # the suspension
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        look_again(cluster)
    assert cluster.pids() == before
    assert not cluster.of("WorkerKilled")
    assert not cluster.of("WorkerBlocked")


def look_again(cluster: Cluster) -> None:
    """Let the primary measure some times: what it thinks of the pause would show by then."""
    time.sleep(5 * 0.2)
    assert cluster.status()["ready"] == 2


@pytest.mark.chaos("C31")
def test_a_stopped_worker_is_killed_once_its_time_is_up(cluster: Cluster) -> None:
    # The control of the two tests above: with these limits a judge that runs does kill.
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *STRICT)
    os.kill(cluster.pids()[0], signal.SIGSTOP)
    assert "stopped by a signal" in cluster.wait("WorkerKilled")["reason"]
    cluster.until(lambda status: status["ready"] == 2)
