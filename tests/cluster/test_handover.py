"""Connections outlive their workers: reloads, recycling, scaling and rollbacks end none."""

import os
import socket
import struct
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.chaos.tiers import TIER, trials
from tests.cluster.crowd import Crowd
from tests.cluster.harness import Cluster
from tests.cluster.load import Load
from tests.cluster.look import accepting, are_level
from tests.cluster.releases import release

CALM = ("--no-access-log", "--drain-quiet", "5")
SHORT = ("--soak", "0.2", "--trial", "0.2")
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def wait_left(cluster: Cluster, count: int) -> None:
    cluster.wait("WorkerLeft", count=count)


def connections(cluster: Cluster) -> list[int]:
    return [worker["connections"] for worker in cluster.status()["workers"]]


def _held(status: dict[str, Any]) -> int:
    return sum(worker["connections"] for worker in status["workers"])


def descriptors(cluster: Cluster) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in cluster.pids().values())


@linux
@pytest.mark.chaos("C20")
def test_idle_connections_go_through_reloads_without_one_reset(cluster: Cluster) -> None:
    count = {"quick": 1000, "full": 10_000, "extreme": 10_000}[TIER]
    cluster.write_app(release("r0"))
    cluster.start("-w", "2", *CALM, *SHORT, "--timeout-keep-alive", "600")
    with Crowd(cluster.port, count) as crowd:
        assert crowd.ask() == {"r0": count}
        before = descriptors(cluster) - count  # by now workers have all that they open themselves
        for number in trials("C20", 2, 10, 50):
            cluster.write_app(release(f"r{number + 1}"))
            cluster.ask("reload")
            wait_left(cluster, 2 * number + 2)
            assert crowd.ask() == {f"r{number + 1}": count}
            assert sum(connections(cluster)) == count
        # A connection that moves is held by both for a moment; a loop may open one or two.
        cluster.until(lambda _: abs(descriptors(cluster) - before - count) <= 8)
        left = cluster.of("WorkerLeft")
        assert sum(event["moved"] for event in left) == count * (len(left) // 2)
        assert cluster.of("RequestsCut") == []
    cluster.until(lambda status: not any(w["connections"] for w in status["workers"]))


@pytest.mark.chaos("C12")
def test_many_reloads_fail_no_client_of_any_kind(cluster: Cluster) -> None:
    least = {"quick": 200, "full": 100_000, "extreme": 1_000_000}[TIER]
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    with Load(cluster.port, fresh=12, kept=12, posts=24, think=0.02) as load:
        reloads = trials("C12", 2, 50, 500)
        for number in reloads:
            cluster.ask("reload")
            wait_left(cluster, 2 * number + 2)
            due = least * (number + 1) // len(reloads)
            while min(load.tally.answers[kind] for kind in ("fresh", "kept", "posts")) < due:
                load.wait_for(50)
    print(load.tally)
    assert load.failures == []
    assert load.tally.followed == 0


def test_a_slot_that_is_given_up_leaves_its_connections_to_the_others(cluster: Cluster) -> None:
    cluster.start("-w", "4", *CALM, *SHORT)
    with Crowd(cluster.port, 80) as crowd:
        assert crowd.ask() == {"one": 80}
        cluster.ask("scale", to="2")
        wait_left(cluster, 2)
        assert crowd.ask() == {"one": 80}
        assert sum(connections(cluster)) == 80
        assert len(connections(cluster)) == 2


@linux  # elsewhere workers share one listener, and nobody looks who has how many
def test_new_workers_get_their_share_of_the_connections_that_are_there(cluster: Cluster) -> None:
    cluster.start("-w", "2", *CALM, *SHORT)
    with Crowd(cluster.port, 100) as crowd:
        assert crowd.ask() == {"one": 100}
        cluster.ask("scale", to="4")
        cluster.until(lambda status: min(w["connections"] for w in status["workers"]) >= 20)
        assert crowd.ask() == {"one": 100}
        assert sum(connections(cluster)) == 100


def test_a_recycled_worker_leaves_its_connections_to_its_successor(cluster: Cluster) -> None:
    cluster.start("-w", "2", *CALM, *SHORT)
    with Crowd(cluster.port, 40) as crowd:
        crowd.ask()
        cluster.ask("recycle", slots=[0, 1])
        wait_left(cluster, 2)
        assert crowd.ask() == {"one": 40}
        assert sum(connections(cluster)) == 40


def test_a_rollback_gives_the_connections_back(cluster: Cluster) -> None:
    # Successors of a trial have taken connections of their own when one of them dies.
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.2", "--trial", "60")
    with Crowd(cluster.port, 10) as old:
        assert old.ask() == {"one": 10}
        cluster.write_app(release("two"))
        cluster.ask("reload", wait=False)
        cluster.wait("ReloadTrial")
        # The event tells the orders; until they are heard the old ones accept.
        cluster.until(lambda status: accepting(status) == {"serving"})
        with Crowd(cluster.port, 20) as crowd:
            assert crowd.ask() == {"two": 20}
            # Then none is on its way from one to the other.
            status = cluster.until(lambda status: are_level(status, 20))
            # The other one of the trial: it lives, and has to go.
            victim = cluster.pids()[0]
            held = next(w["connections"] for w in status["workers"] if w["pid"] == victim)
            os.kill(victim, 9)
            cluster.wait("ReloadRejected")
            cluster.until(lambda status: len(status["workers"]) == 2)
            found = crowd.ask()
            assert found["one"] == 20 - held
        assert old.ask() == {"one": 10}


@pytest.mark.chaos("C21")
@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_a_request_that_is_half_read_is_answered_where_it_began(
    cluster: Cluster, request_bytes: bytes
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    cuts = range(len(request_bytes) + 1)
    for _ in trials("C21", 1, 10, 50):
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", cluster.port)))
                for _ in cuts
            ]
            for cut, client in zip(cuts, clients, strict=True):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(request_bytes[:cut])
            cluster.until(lambda status: _held(status) == len(cuts))
            committed = len(cluster.of("ReloadCommitted"))
            cluster.ask("reload")
            cluster.wait("WorkerDraining", count=2 * committed + 2)
            for cut, client in zip(cuts, clients, strict=True):
                client.sendall(request_bytes[cut:])
            for client in clients:
                client.settimeout(30)
                head, _, body = client.recv(4096).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                assert body.startswith(b"one ")
                assert (b"hello" in body) is (b"hello" in request_bytes)
                client.setblocking(False)
                with pytest.raises(BlockingIOError):  # nothing more, and no end
                    client.recv(1)
        cluster.wait("WorkerLeft", count=2 * committed + 2)


@pytest.mark.chaos("C13")
def test_who_asks_just_as_its_worker_leaves_is_answered(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *CALM, *SHORT)
    for number in trials("C13", 3, 100, 1000):
        with ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", cluster.port)))
                for _ in range(30)
            ]
            for client in clients[:10]:
                client.sendall(GET)
                assert client.recv(4096)
            for client in clients[10:20]:
                client.sendall(GET[:10])
            cluster.ask("reload", wait=False)
            cluster.wait("WorkerDraining", count=number + 1)
            for index, client in enumerate(clients):
                client.sendall(GET[10:] if 10 <= index < 20 else GET)
            for client in clients:
                client.settimeout(30)
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        wait_left(cluster, number + 1)


@linux
@pytest.mark.chaos("C22")
def test_clients_that_go_in_a_drain_leave_nothing_behind(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    cluster.get()
    for number in trials("C22", 2, 50, 250):
        clients = [socket.create_connection(("127.0.0.1", cluster.port)) for _ in range(60)]
        for client in clients[:40]:
            client.sendall(GET)
            client.recv(4096)
        before = descriptors(cluster)
        cluster.ask("reload")
        for index, client in enumerate(clients):
            match index % 3:
                case 0:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
                case 1:
                    client.shutdown(socket.SHUT_WR)
                case _:
                    client.close()
        wait_left(cluster, 2 * number + 2)
        for client in clients:
            client.close()
        cluster.until(lambda status: not any(w["connections"] for w in status["workers"]))
        assert descriptors(cluster) <= before
        assert cluster.get().text.startswith("one ")
    assert not [line for line in cluster.lines if "Traceback" in line]
    assert cluster.of("WorkerKilled") == cluster.of("RequestsCut") == []


@pytest.mark.chaos("C20")
def test_workers_that_are_killed_in_reloads_take_no_connection_of_others(cluster: Cluster) -> None:
    # Successors that die while connections come to them: each client is answered, or had its
    # connection with the one that was killed; none hangs.
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    for number in trials("C20", 1, 20, 100):
        with Crowd(cluster.port, 200) as crowd:
            assert crowd.ask() == {"one": 200}
            cluster.ask("reload")
            cluster.wait("WorkerDraining", count=2 * number + 2)
            os.kill(cluster.pids()[0], 9)
            cluster.until(
                lambda status: [w["phase"] for w in status["workers"]] == ["serving", "serving"]
            )
            found = crowd.ask()
            assert found.total() == 200
            # Those of the other slot, at the least.
            assert found["one"] >= 80
            assert set(found) <= {"one", "closed", "ConnectionResetError", "BrokenPipeError"}


def test_connections_of_uvicorn_stay_and_are_told_to_go(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *SHORT, "--no-access-log", "--server", "uvicorn")
    with Load(cluster.port, kept=4) as load:
        load.wait_for(50)
        cluster.ask("reload")
        wait_left(cluster, 2)
        load.wait_for(50)
    assert load.failures == []
    assert load.tally.followed >= 4
    assert {event["moved"] for event in cluster.of("WorkerLeft")} == {0}
