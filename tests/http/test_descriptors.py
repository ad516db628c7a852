"""A worker whose descriptors run out waits for some to come back, and burns no time meanwhile."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator

import pytest

from tercio.dataplane.scoreboard import Field
from tests.cluster.spent import Spent
from tests.worker.rig import LIMIT, Client, Rig

pytestmark = [pytest.mark.timeout(120), pytest.mark.chaos("C18")]

OPTIONS = {"server": "tercio", "log_level": "critical"}
ASK = b"GET /who HTTP/1.1\r\nHost: rig\r\nConnection: close\r\n\r\n"
CLIENTS = 200
NOFILE = 96  # of which a worker takes half for itself
WINDOW = 2.0  # seconds in which CPU time is measured


@contextlib.contextmanager
def crowd(address: tuple[str, int]) -> Iterator[list[socket.socket]]:
    """Clients that connect and say nothing; some wait in the kernel."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(address)
            clients.append(client)
        yield clients


def share_of_cpu(pid: int) -> float:
    """Of one core, over a while in which nothing is asked of the process."""
    began, before = time.monotonic(), Spent.by([pid])
    select.select([], [], [], WINDOW)  # a window, not a wait: whatever it spends is in vain
    spent = Spent.by([pid]) - before
    return spent.cpu_ns / 1e9 / (time.monotonic() - began)


def is_answered(client: socket.socket) -> bool:
    client.settimeout(LIMIT)
    client.sendall(ASK)
    return client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("limit", [0, 100_000], ids=["its own limit", "no limit of its own"])
def test_a_crowd_spins_nothing_and_is_served_in_the_end(loop: str, limit: int) -> None:
    options = OPTIONS | {"loop": loop, "limit_connections": limit}
    with Rig(options=options, record={"rlimits": {"nofile": NOFILE}}) as rig:
        rig.serving()
        with crowd(rig.address) as clients:
            until_no_more_fit(rig)
            assert share_of_cpu(rig.process.pid) < 0.2
            for client in clients[: CLIENTS - 20]:
                client.close()
            for client in clients[CLIENTS - 20 :]:
                assert is_answered(client)
        rig.count(Field.CONNECTIONS, 0)
        assert rig.get("/who")[0] == 200


def until_no_more_fit(rig: Rig) -> None:
    """Wait until accepting has stopped, at least for a while."""
    last, since = -1, time.monotonic()
    while last <= 8 or time.monotonic() - since < 0.5:
        current = rig.row[Field.CONNECTIONS]
        if current != last:
            last, since = current, time.monotonic()
        assert time.monotonic() - since < LIMIT, f"{current} connections were accepted"
        select.select([], [], [], 0.01)


def test_a_limit_that_falls_on_a_running_worker_is_survived(loop: str) -> None:
    with Rig(options=OPTIONS | {"loop": loop}) as rig:
        rig.serving()
        with Client(rig.address) as faithful:
            faithful.ask("/who")
            assert faithful.answer()[0] == 200
            resource.prlimit(rig.process.pid, resource.RLIMIT_NOFILE, (NOFILE, NOFILE))
            with crowd(rig.address) as clients:
                until_no_more_fit(rig)
                assert share_of_cpu(rig.process.pid) < 0.2
                # Whoever has a connection is served.
                faithful.ask("/who")
                assert faithful.answer()[0] == 200
                for client in clients[: CLIENTS - 20]:
                    client.close()
                for client in clients[CLIENTS - 20 :]:
                    assert is_answered(client)
        rig.count(Field.CONNECTIONS, 0)


def test_connections_beyond_the_limit_wait_for_room(loop: str) -> None:
    options = OPTIONS | {"loop": loop, "limit_connections": 3}
    with Rig(options=options) as rig:
        rig.serving()
        with contextlib.ExitStack() as stack:
            inside = [stack.enter_context(rig.connect()) for _ in range(3)]
            for client in inside:
                client.ask("/who")
                assert client.answer()[0] == 200
            outside = [stack.enter_context(rig.connect()) for _ in range(3)]
            for client in outside:
                client.ask("/who", "Connection: close")
            for client in inside:  # it does nothing for those outside meanwhile
                client.ask("/who")
                assert client.answer()[0] == 200
            assert rig.row[Field.CONNECTIONS] <= 4
            ready, _, _ = select.select([client.sock for client in outside], [], [], 0)
            assert len(ready) <= 1
            for client in inside:
                client.close()
            for client in outside:
                assert client.answer()[0] == 200
        rig.count(Field.CONNECTIONS, 0)
