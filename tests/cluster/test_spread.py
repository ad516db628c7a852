"""New connections are spread evenly, and none waits for a worker that cannot take it."""

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster.chaos.tiers import SLACK
from tests.cluster.harness import DEFAULT_APP, PATIENCE, QUICK, Cluster
from tests.cluster.look import are_level

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a listener for each slot"
)


SLEEPER = DEFAULT_APP.replace(
    "    body =",
    """    if scope["path"] == "/sleep":
        import time
        time.sleep(3)
    body =""",
)
"""It blocks its loop at /sleep."""


def connect(cluster: Cluster) -> socket.socket:
    return socket.create_connection(("127.0.0.1", cluster.port), timeout=PATIENCE)


def ask(connection: socket.socket, path: str = "/") -> int:
    """The pid of the worker that answers."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return answer(connection)


def answer(connection: socket.socket) -> int:
    received = b""
    while b"\r\n\r\n" not in received or not received.partition(b"\r\n\r\n")[2]:
        part = connection.recv(4096)
        assert part, "closed without an answer"
        received += part
    assert received.startswith(b"HTTP/1.1 200")
    return int(received.split()[-1])


@pytest.fixture
def open_connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def arrive(cluster: Cluster, stack: ExitStack, count: int, rate: float) -> list[socket.socket]:
    """Connections at a steady rate, in connections a second."""
    found = []
    began = time.monotonic()
    for number in range(count):
        found.append(stack.enter_context(connect(cluster)))
        # Not a wait for something: the rate is what is tested.
        time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
    return found


@pytest.mark.alone
@pytest.mark.parametrize("rate", [200, 1000, 100_000])
def test_200_connections_are_spread_evenly_whatever_their_rate(
    cluster: Cluster, open_connections: ExitStack, rate: float
) -> None:
    """What a burst has made uneven is made even again, and nobody notices."""
    cluster.start("-w", "4", *QUICK, "--no-access-log")
    connections = arrive(cluster, open_connections, 200, rate)
    cluster.until(
        lambda status: all(45 <= worker["connections"] <= 55 for worker in status["workers"])
    )
    shares = Counter(map(ask, connections))
    assert set(shares) == set(cluster.pids().values())
    assert all(45 <= share <= 55 for share in shares.values()), shares


def test_a_new_worker_gets_its_share_of_the_connections_that_are_there(
    cluster: Cluster, open_connections: ExitStack
) -> None:
    cluster.start("-w", "4", *QUICK, "--no-access-log")
    connections = arrive(cluster, open_connections, 40, 100_000)
    killed = cluster.pids()[1]
    cluster.until(lambda status: are_level(status, 40))  # from now on each stays where it is
    homes = Counter(map(ask, connections))
    os.kill(killed, signal.SIGKILL)
    cluster.wait("WorkerServing", 5)
    cluster.until(
        lambda status: (
            len(status["workers"]) == 4
            and all(worker["connections"] >= homes.total() // 10 for worker in status["workers"])
        )
    )
    left = [each for each in connections if not is_closed(each)]
    assert len(left) == 40 - homes[killed]
    shares = Counter(map(ask, left))
    assert set(shares) == set(cluster.pids().values())


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        connection.settimeout(PATIENCE)
        return False
    except ConnectionResetError:
        return True


@pytest.mark.alone
def test_a_blocked_loop_makes_no_new_connection_wait(
    cluster: Cluster, open_connections: ExitStack
) -> None:
    cluster.write_app(SLEEPER)
    cluster.start("-w", "4", *QUICK, "--no-access-log")
    blocker = open_connections.enter_context(connect(cluster))
    blocker.sendall(b"GET /sleep HTTP/1.1\r\nHost: here\r\n\r\n")
    # What a worker has read before it was blocked is its own; what comes from now on is not.
    cluster.until(lambda status: any(queue["is_stuck"] for queue in status["queues"]))
    waits = []
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        asked = time.monotonic()
        ask(open_connections.enter_context(connect(cluster)))
        waits.append(time.monotonic() - asked)
        time.sleep(0.01)
    assert max(waits) <= 0.1 * SLACK, sorted(waits)[-5:]
    answer(blocker)


def test_status_says_who_gets_how_much_and_who_waits(cluster: Cluster) -> None:
    cluster.start("-w", "3", *QUICK)
    queues = cluster.status()["queues"]
    assert [queue["slot"] for queue in queues] == [0, 1, 2]
    assert sum(queue["share"] for queue in queues) == pytest.approx(1.0, abs=0.01)
    assert all(queue["waiting"] == 0 and not queue["is_stuck"] for queue in queues)


def test_without_its_primary_running_workers_go_on_to_accept(
    cluster: Cluster, open_connections: ExitStack
) -> None:
    cluster.start("-w", "2", *QUICK, "--no-access-log")
    os.kill(cluster.pid, signal.SIGSTOP)
    try:
        homes = {ask(open_connections.enter_context(connect(cluster))) for _ in range(40)}
    finally:
        os.kill(cluster.pid, signal.SIGCONT)
    assert homes == set(cluster.pids().values())


def test_without_its_primary_nobody_waits_for_a_worker_that_is_stuck(
    cluster: Cluster, open_connections: ExitStack
) -> None:
    """Workers that run look at the queues of the others themselves."""
    cluster.start("-w", "3", *QUICK, "--no-access-log")
    stuck = cluster.pids()[1]
    os.kill(cluster.pid, signal.SIGSTOP)
    os.kill(stuck, signal.SIGSTOP)
    try:
        waiting = [open_connections.enter_context(connect(cluster)) for _ in range(30)]
        for connection in waiting:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert stuck not in map(answer, waiting)
    finally:
        os.kill(stuck, signal.SIGCONT)
        os.kill(cluster.pid, signal.SIGCONT)
