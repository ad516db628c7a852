"""Connections that move while descriptors are short, the primary dies, or the address is odd."""

import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.cluster.chaos.tiers import SLACK, trials
from tests.cluster.crowd import Crowd
from tests.cluster.harness import Cluster
from tests.cluster.load import Load
from tests.cluster.look import connected, listening
from tests.cluster.places import with_open_home
from tests.cluster.programs import faulty
from tests.cluster.releases import release

CALM = ("--no-access-log", "--drain-quiet", "5", "--soak", "0.2", "--trial", "0.2")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def ticks(pid: int) -> int:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# Descriptors that run out


@pytest.mark.chaos("C18")
def test_a_worker_without_descriptors_idles_and_is_back_when_there_are_some(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM)
    for _ in trials("C18", 1, 20, 100):
        poor = cluster.pids()[0]
        with Crowd(cluster.port, 40) as crowd:
            assert crowd.ask() == {"one": 40}
            old = resource.prlimit(poor, resource.RLIMIT_NOFILE)
            resource.prlimit(poor, resource.RLIMIT_NOFILE, (descriptors(poor), old[1]))
            with Crowd(cluster.port, 40) as more:
                used = ticks(poor)
                began = time.monotonic()
                assert crowd.ask() == {"one": 40}
                time.sleep(1.0)  # not a wait for something: what it does all the while is measured
                spent = (ticks(poor) - used) / os.sysconf("SC_CLK_TCK")
                assert spent <= 0.2 * SLACK * (time.monotonic() - began)
                resource.prlimit(poor, resource.RLIMIT_NOFILE, old)
                began = time.monotonic()
                assert more.ask() == {"one": 40}
                assert time.monotonic() - began <= 2.0 * SLACK
        cluster.until(lambda status: not any(w["connections"] for w in status["workers"]))
    assert cluster.pids()[0] == poor


@pytest.mark.chaos("C18")
def test_a_successor_without_descriptors_costs_no_connection(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "2")
    for number in trials("C18 successor", 1, 20, 100):
        with Crowd(cluster.port, 60) as crowd:
            assert crowd.ask() == {"one": 60}
            since = cluster.newest()
            cluster.ask("recycle", slots=[0], wait=False)
            cluster.wait("WorkerReady", since=since)
            # From the soak on: it gets all of its connections without room for one of them.
            poor = max(cluster.status()["workers"], key=lambda w: w["incarnation"])["pid"]
            limits = resource.prlimit(poor, resource.RLIMIT_NOFILE)
            resource.prlimit(poor, resource.RLIMIT_NOFILE, (descriptors(poor), limits[1]))
            cluster.wait("WorkerLeft", count=number + 1)
            found = crowd.ask()
            resource.prlimit(poor, resource.RLIMIT_NOFILE, limits)
            assert found == {"one": 60}
            assert crowd.ask() == {"one": 60}
    assert not [line for line in cluster.lines if "Traceback" in line]


# The primary dies


@pytest.mark.chaos("C20", repeat=True)
def test_a_primary_killed_in_a_hand_over_leaves_nobody_waiting(cluster: Cluster) -> None:
    """Workers end, and so do connections: those in an inbox, too."""
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM)
    with Crowd(cluster.port, 400) as crowd:
        assert crowd.ask() == {"one": 400}
        cluster.ask("reload", wait=False)
        cluster.wait("WorkerDraining")
        cluster.signal(signal.SIGKILL)
        cluster.wait_end()
        cluster.wait_no_processes(2.0 * SLACK)
        assert set(crowd.ask()) <= {"closed", "ConnectionResetError", "BrokenPipeError"}


# Addresses


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
@pytest.mark.parametrize(
    ("bind", "hosts"), [("[::1]:0", ["::1"]), ("[::]:0", ["127.0.0.1", "::1"])], ids=["6", "both"]
)
def test_ipv6_is_spread_stolen_and_handed_over_as_ipv4_is(
    cluster: Cluster, bind: str, hosts: list[str]
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "4", "--bind", bind, *CALM, "--stopped-kill", "0")
    for host in hosts:
        with Crowd(cluster.port, 80, host) as crowd:
            cluster.until(
                lambda status: all(15 <= each["connections"] <= 25 for each in status["workers"])
            )
            generation = cluster.status()["generation"]
            cluster.ask("reload")
            cluster.wait("WorkerLeft", count=4 * generation)
            assert crowd.ask() == {"one": 80}
        cluster.until(lambda status: not any(w["connections"] for w in status["workers"]))
        stuck = cluster.pids()[1]
        os.kill(stuck, signal.SIGSTOP)
        try:
            with Crowd(cluster.port, 40, host) as crowd:
                assert crowd.ask() == {"one": 40}
        finally:
            os.kill(stuck, signal.SIGCONT)
        cluster.until(lambda status: not any(w["connections"] for w in status["workers"]))


def goes_on(cluster: Cluster, place: int | str) -> None:
    """Connections outlive a reload."""
    with Crowd(place, 40) as crowd:
        assert crowd.ask() == {"one": 40}
        cluster.ask("reload")
        cluster.wait("WorkerLeft", count=2)
        assert crowd.ask() == {"one": 40}
        assert sum(event["moved"] for event in cluster.of("WorkerLeft")) == 40


def test_connections_of_an_inherited_socket_outlive_a_reload(cluster: Cluster) -> None:
    listen = (
        "import os, socket, sys; server = socket.create_server(('127.0.0.1', 0), backlog=100); "
        "os.dup2(server.fileno(), 9); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    cluster.write_app(release("one"))
    cluster.start("-w", "2", "--fd", "9", *CALM, prefix=(sys.executable, "-c", listen))
    goes_on(cluster, cluster.port)


def test_connections_of_a_unix_socket_outlive_a_reload(cluster: Cluster) -> None:
    path = str(cluster.directory / "web.sock")
    cluster.write_app(release("one"))
    cluster.start("-w", "2", "--uds", path, *CALM)
    goes_on(cluster, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_connections_outlive_a_reload_of_workers_that_are_somebody_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.directory = Path(tempfile.mkdtemp(prefix="tercio-test-"))
    try:
        cluster.directory.chmod(0o755)
        cluster.write_app(release("one"))
        cluster.start("-w", "2", "--user", "nobody", *CALM, prefix=with_open_home(tmp_path))
        goes_on(cluster, cluster.port)
    finally:
        cluster.clean_up()
        shutil.rmtree(cluster.directory)


# Others


def test_what_an_application_forks_has_no_listener_of_any_slot_and_no_connection(
    cluster: Cluster,
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "3", *CALM)
    with Crowd(cluster.port, 30) as crowd:
        assert crowd.ask() == {"one": 30}
        ours = {cluster.pid, *cluster.pids().values(), *cluster.living()}
        assert all(listening(pid) for pid in cluster.pids().values())
        assert cluster.get("/fork").status == 200
        (child,) = set(cluster.living()) - ours
        # The worker may have answered before its child had its first instant.
        cluster.until(lambda _: not listening(child) and not connected(child))
        assert crowd.ask() == {"one": 30}


def test_eight_workers_are_reloaded_under_load(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "8", *CALM)
    with Crowd(cluster.port, 160) as crowd, Load(cluster.port, fresh=2, kept=2, posts=2) as load:
        assert crowd.ask() == {"one": 160}
        cluster.ask("reload")
        cluster.wait("WorkerLeft", count=8)
        assert crowd.ask() == {"one": 160}
        load.wait_for(50)
    assert load.failures == []
