"""Who gets a new connection: as `--balance` says, and nobody waits for a worker that is stuck."""

import http.client
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.load import Load
from tests.cluster.look import UnixConnection, short_directory, socket_fds
from tests.cluster.programs import faulty

slotted = pytest.mark.skipif(sys.platform != "linux", reason="slots are SO_REUSEPORT groups")

REFUSING = (sys.executable, str(Path(__file__).parents[1] / "system" / "refusing.py"))


def ask(connection: http.client.HTTPConnection, path: str = "/") -> int:
    """The worker that answered."""
    connection.request("GET", path)
    return int(connection.getresponse().read().split()[1])


@contextmanager
def kept(*connections: http.client.HTTPConnection) -> Iterator[list[int]]:
    """Connections that are made one after the other, and the worker of each."""
    with ExitStack() as stack:
        workers = []
        for connection in connections:
            stack.callback(connection.close)
            workers.append(ask(connection))
        yield workers


def warm(connect: Callable[[], http.client.HTTPConnection], workers: int) -> None:
    """Return once so many workers answer: one that is ready begins a moment later to accept."""
    with ExitStack() as stack:
        seen: set[int] = set()
        for _ in range(500):
            connection = connect()
            stack.callback(connection.close)
            seen.add(ask(connection))
            if len(seen) == workers:
                return
    raise AssertionError(f"only {seen} answer")


def tcp(cluster: Cluster, source: str = "127.0.0.1") -> http.client.HTTPConnection:
    return http.client.HTTPConnection(
        "127.0.0.1", cluster.port, PATIENCE, source_address=(source, 0)
    )


# Spread


def test_pull_gives_nobody_many_more_than_others(cluster: Cluster) -> None:
    cluster.start("-w", "3", "--balance", "pull", "--no-access-log")
    warm(lambda: tcp(cluster), 3)
    with kept(*[tcp(cluster) for _ in range(90)]) as workers:
        assert len(workers) == 90
        counts = Counter(workers).values()
    # 8 more than the least are allowed, and a few that a sibling was too slow to take.
    assert len(counts) == 3
    assert max(counts) - min(counts) <= 14


def test_over_a_unix_socket_nobody_has_many_more_than_others(cluster: Cluster) -> None:
    with short_directory() as directory:
        path = directory / "app.sock"
        cluster.start("-w", "3", "--uds", str(path), "--no-access-log")
        (address,) = cluster.status()["balance"]["listeners"]
        assert (address["policy"], address["why"]) == ("pull", "a Unix socket has one queue")
        assert not any("--balance" in event["text"] for event in cluster.of("ConfigWarning"))
        warm(lambda: UnixConnection(path), 3)
        with kept(*[UnixConnection(path) for _ in range(90)]) as workers:
            counts = Counter(workers).values()
        assert len(counts) == 3
        assert max(counts) - min(counts) <= 14


@slotted
def test_least_keeps_all_workers_level(cluster: Cluster) -> None:
    cluster.start("-w", "3", "--no-access-log")
    with kept(*[tcp(cluster) for _ in range(150)]) as workers:
        counts = Counter(workers).values()
        assert len(counts) == 3
        # At most as many as came between two looks are given by chance alone.
        assert max(counts) - min(counts) <= 40
        cluster.until(
            lambda status: (
                max(worker["connections"] for worker in status["workers"]) <= 55
                and min(worker["connections"] for worker in status["workers"]) >= 45
            )
        )


@slotted
def test_by_chance_everybody_gets_some(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--balance", "reuseport", "--no-access-log")
    with kept(*[tcp(cluster) for _ in range(100)]) as workers:
        counts = Counter(workers).values()
    assert len(counts) == 2
    assert min(counts) > 15  # seven deviations away


@slotted
def test_an_address_has_one_worker_also_after_its_worker_was_replaced(cluster: Cluster) -> None:
    cluster.start("-w", "3", "--balance", "sticky-ip", "--no-access-log", *QUICK)
    sources = [f"127.0.0.{number}" for number in range(1, 33)]

    def homes() -> list[int]:
        slots = {pid: slot for slot, pid in cluster.pids().items()}
        with kept(*[tcp(cluster, source) for source in sources]) as workers:
            return [slots[worker] for worker in workers]

    before = homes()
    assert set(before) == {0, 1, 2}
    assert homes() == before
    cluster.ask("reload")
    assert homes() == before


# Workers that take nothing


@slotted
@pytest.mark.parametrize("policy", ["least", "reuseport", "pull"])
def test_nobody_who_comes_waits_for_a_worker_that_is_stuck(cluster: Cluster, policy: str) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", "--balance", policy, "--no-access-log", "--blocked-after", "60")
    with ExitStack() as stack:
        blocked = tcp(cluster)
        stack.callback(blocked.close)
        stuck = ask(blocked)
        blocked.request("GET", "/block/5")
        cluster.until(lambda status: any(worker["in_flight"] for worker in status["workers"]))
        with kept(*[tcp(cluster) for _ in range(30)]) as workers:
            # All were answered before the worker came back, by the other one.
            assert set(workers) == set(cluster.pids().values()) - {stuck}
        assert blocked.getresponse().read().split() == [b"one", str(stuck).encode()]


@slotted
def test_what_waits_for_a_worker_that_is_killed_is_not_reset(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--max-workers", "2", "--no-access-log", "--backoff-base", "0.1")
    (pid,) = cluster.pids().values()
    os.kill(pid, signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", cluster.port), PATIENCE))
            for _ in range(50)
        ]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        os.kill(pid, signal.SIGKILL)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("policy", ["pull", "reuseport", "sticky-ip"])
def test_scaling_up_and_down_resets_nobody(cluster: Cluster, policy: str) -> None:
    cluster.start("-w", "2", "--balance", policy, "--no-access-log")
    with Load(cluster.port, fresh=6, kept=2) as load:
        for count in (4, 1, 3, 2):
            assert cluster.tercio("scale", str(count)).returncode == 0
            load.wait_for(100)
    assert load.failures == []


# What cannot be had


@slotted
def test_a_kernel_that_refuses_programs_is_told_of_once_and_all_share(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--no-access-log", prefix=REFUSING)
    balance = cluster.status()["balance"]
    why = "the kernel refuses listeners for each slot (Operation not permitted)"
    assert (balance["asked"], balance["policy"], balance["why"]) == ("least", "pull", why)
    told = [event for event in cluster.of("ConfigWarning") if "--balance" in event["text"]]
    (warning,) = (event["text"] for event in told)
    assert warning == (
        f"--balance least cannot be had at http://127.0.0.1:{cluster.port}: {why}; connections are "
        "shared as with --balance pull"
    )
    warm(lambda: tcp(cluster), 2)


@slotted
def test_without_room_for_the_listeners_of_all_slots_one_is_shared(cluster: Cluster) -> None:
    few = ("sh", "-c", 'ulimit -n 400; exec "$@"', "sh")
    binds = ("--bind", "127.0.0.1:0") * 3
    cluster.start("-w", "1", "--max-workers", "40", "--no-access-log", *binds, prefix=few)
    balance = cluster.status()["balance"]
    assert balance["policy"] == "pull"
    assert balance["why"].startswith("it takes 120 listeners, more than a quarter of the 400 files")
    assert cluster.get().status == 200


@slotted
def test_what_the_kernel_gives_to_a_slot_shows_in_its_queue_alone(cluster: Cluster) -> None:
    """A slot that is not wanted gets no connection, whatever its worker was before."""
    cluster.start("-w", "2", "--max-workers", "4", "--balance", "reuseport", "--no-access-log")
    assert cluster.tercio("scale", "1").returncode == 0
    (pid,) = cluster.pids().values()
    os.kill(pid, signal.SIGSTOP)
    try:
        with ExitStack() as stack:
            for _ in range(40):
                address = ("127.0.0.1", cluster.port)
                stack.enter_context(socket.create_connection(address, PATIENCE))
            assert sorted(queue_lengths(cluster)) == [0, 0, 0, 40]
    finally:
        os.kill(pid, signal.SIGCONT)


def queue_lengths(cluster: Cluster) -> list[int]:
    """Of all listeners of the primary, by way of the kernel's table."""
    lengths = []
    inodes = set(socket_fds(cluster.pid).values())
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            lengths.append(int(fields[4].partition(":")[2], 16))
    return lengths
