"""Limits: requests, lifetime, the kernel's own, and how many workers `auto` means where."""

import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import history
from tests.cluster.burdens import burdens
from tests.cluster.chaos.tiers import SLACK
from tests.cluster.groups import group
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.load import Load
from tests.cluster.releases import release


def limit_of(pid: int, name: str) -> list[str]:
    """The soft and the hard limit, as the kernel shows them."""
    text = Path(f"/proc/{pid}/limits").read_text()
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()[:2]


# Recycling


def test_after_so_many_requests_a_worker_is_replaced_and_each_at_another_number(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *QUICK, "--limit-max-requests", "200", "--limit-jitter", "0.5")
    with Load(cluster.port, fresh=2, kept=4, think=0.02) as load:
        cluster.wait("WorkerLeft", 4)
    assert not load.failures, load.tally
    for event in cluster.of("RetirementPlanned"):
        match = re.fullmatch(r"served (\d+) requests \(--limit-max-requests\)", event["reason"])
        assert match is not None
        assert int(match[1]) >= 100  # 200, less at most the half of it
    assert min(history.serving(cluster.events)) == 2
    assert history.most_in_a_slot(cluster.events) == 2
    reasons = [reason for slot in cluster.status()["slots"] for reason in slot["reasons"]]
    assert all("--limit-max-requests" in reason for reason in reasons)


def test_after_its_lifetime_a_worker_is_replaced_and_not_all_at_once(cluster: Cluster) -> None:
    cluster.start("-w", "2", *QUICK, "--limit-max-lifetime", "2", "--limit-jitter", "0.5")
    cluster.wait("WorkerLeft", 3)
    births = {event["worker"]: event["time"] for event in cluster.of("WorkerStarting")}
    for event in cluster.of("RetirementPlanned"):
        assert re.fullmatch(r"lived [12] s \(--limit-max-lifetime\)", event["reason"])
        assert 0.95 < event["time"] - births[event["worker"]] < 2.2 + 1.0 * SLACK
    assert min(history.serving(cluster.events)) == 2
    assert not cluster.of("WorkerDied")


def test_after_a_rejected_reload_nobody_is_recycled_until_a_good_one(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *QUICK, "--limit-max-requests", "60", "--limit-jitter", "0")
    before = cluster.pids()
    cluster.write_app(release("two", at_import="raise RuntimeError('broken')"))
    with pytest.raises(AssertionError, match="rejected"):
        cluster.ask("reload")
    with Load(cluster.port, fresh=2, kept=2, think=0.01) as load:
        cluster.wait("RetirementPaused", 2)
        load.wait_for(50)
        assert not cluster.of("RetirementPlanned")
        assert cluster.pids() == before
        assert len(cluster.of("RetirementPaused")) == 2
        assert any("recycling is paused" in note for note in cluster.status()["notes"])
        cluster.write_app(release("three"))
        cluster.ask("reload")
        cluster.wait("RetirementPlanned")
    assert not load.failures, load.tally


# The kernel's limits of a worker


def test_worker_limits_are_set_and_one_that_uses_up_its_cpu_time_dies_by_name(
    cluster: Cluster,
) -> None:
    cluster.write_app(burdens())
    cluster.start(
        "-w", "2", *QUICK, "--worker-limit", "memory=1GB", "--worker-limit", "nofile=256",
        "--worker-limit", "cpu=3",
    )  # fmt: skip
    for pid in cluster.pids().values():
        assert limit_of(pid, "Max data size") == ["1000000000", "1000000000"]
        assert limit_of(pid, "Max open files") == ["256", "256"]
        assert limit_of(pid, "Max cpu time") == ["3", "4"]
    assert limit_of(cluster.pid, "Max cpu time") == ["unlimited", "unlimited"]
    with pytest.raises(OSError, match=r"closed|reset"):
        cluster.get("/burn")
    died = cluster.wait("WorkerDied")
    assert died["status"] == f"killed by {signal.SIGXCPU.name}"
    assert died["lost_requests"] == 1
    cluster.until(lambda status: status["ready"] == 2)
    errors = [slot["last_error"] for slot in cluster.status()["slots"]]
    assert sum("SIGXCPU" in error for error in errors) == 1


@pytest.mark.chaos("C18")
def test_a_worker_without_descriptors_waits_for_them_and_does_not_spin(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK, "--worker-limit", "nofile=128")
    pid = cluster.pids()[0]
    idle = [socket.create_connection(("127.0.0.1", cluster.port)) for _ in range(100)]
    cluster.wait_line("accepting nothing")
    before, began = _cpu_seconds(pid), cluster.status()["uptime"]
    status = cluster.until(lambda status: status["uptime"] > began + 1.5)
    share = (_cpu_seconds(pid) - before) / (status["uptime"] - began)
    assert share < 0.2
    for connection in idle:
        connection.close()
    closed = time.monotonic()
    assert cluster.get().pid == pid
    assert time.monotonic() - closed < 2.0 * SLACK


def _cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


# How many workers


def test_auto_means_one_worker_on_one_core_and_says_why(cluster: Cluster) -> None:
    one_core = "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    prefix = (sys.executable, "-c", f"{one_core}os.execvp(sys.argv[1], sys.argv[1:])")
    cluster.start("-w", "auto", prefix=prefix)
    assert len(cluster.pids()) == 1
    assert cluster.first("ClusterStarted")["why"] == "auto: 1 from affinity"
    assert "auto: 1 from affinity" in "\n".join(cluster.lines)


def test_half_a_core_is_one_worker_and_throttling_is_nobodys_fault(
    new_cluster: Callable[[], Cluster],
) -> None:
    with group("cpu") as limited:
        limited.limit_cpu(0.5)
        alone = new_cluster().start("-w", "auto", prefix=limited.prefix)
        why = alone.first("ClusterStarted")["why"]
        assert re.fullmatch(r"auto: \d+ from affinity; cgroup quota 0.5 cores", why)
        assert len(alone.pids()) == 1
        assert alone.stop() == 0

        # Far shorter limits than the defaults, and more clients than half a core can serve.
        busy = new_cluster()
        busy.write_app(release("one"))
        busy.start(
            "-w", "3", *QUICK, "--blocked-kill", "1", "--stopped-kill", "1", prefix=limited.prefix
        )
        before = busy.pids()
        began = busy.status()["uptime"]
        with Load(busy.port, fresh=4, kept=16, think=0) as load:
            busy.until(lambda status: status["uptime"] > began + 4.5)
            load.wait_for(50)
        assert not load.failures, load.tally
        assert busy.pids() == before
        for kind in ("WorkerKilled", "WorkerDied", "WorkerSilent"):
            assert not busy.of(kind)
        assert busy.stop() == 0
