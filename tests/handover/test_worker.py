"""A real worker and a sibling: what moves, what stays, and that its client sees nothing."""

import os
import signal
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from tercio.dataplane.scoreboard import Field, WorkerPhase
from tercio.http.luggage import Luggage
from tests.cluster.chaos.tiers import luck, trials
from tests.handover.elsewhere import Elsewhere, descriptors, kept
from tests.handover.exchanges import is_ended
from tests.worker.rig import Client, Rig, is_ready, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def close_all(clients: list[Client]) -> None:
    for client in clients:
        client.close()


def test_a_drain_gives_idle_connections_to_the_heir(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        clients = kept(rig, 20)
        rig.drain(heirs=[0])
        assert rig.exit().code == 0
        until(lambda: len(there.home.adopted) == 20)
        # The same connections: what a client says now, its new worker hears.
        for number, client in enumerate(clients):
            client.send(b"%02d" % number)
        heard = {sock.recv(2) for sock, _ in there.home.adopted}
        assert heard == {b"%02d" % number for number in range(20)}
        assert {luggage.asked for _, luggage in there.home.adopted} == {1}
        assert rig.row[Field.MOVED_DRAIN] == 20
        assert rig.row[Field.CONNECTIONS] == 0
        assert not rig.said("cut")
        close_all(clients)


def test_a_busy_connection_goes_when_it_comes_to_rest(loop: str) -> None:
    rig = Rig(options={"loop": loop}).serving()
    with rig, Elsewhere(rig) as there, rig.connect() as client:
        client.ask("/slow?seconds=0.5")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain(heirs=[0])
        assert client.answer()[0] == 200
        # Nobody told it to go.
        assert "connection" not in client.headers
        assert rig.exit().code == 0
        until(lambda: len(there.home.adopted) == 1)
        assert not is_ended(client.sock)


def test_nothing_moves_at_a_stop(loop: str) -> None:
    options = {"loop": loop, "drain_quiet": 0.1}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        clients = kept(rig, 3)
        rig.drain(heirs=None)
        assert rig.exit().code == 0
        assert there.home.adopted == []
        for client in clients:
            assert client.is_closed()
            client.close()


def test_without_anybody_to_give_to_a_drain_is_as_ever(loop: str) -> None:
    options = {"loop": loop, "drain_quiet": 0.2}
    with Rig(options=options).serving() as rig, rig.connect() as client:
        client.ask("/slow?seconds=0.5")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain(heirs=[])
        assert client.answer()[0] == 200
        assert client.headers["connection"] == "close"
        assert rig.exit().code == 0


def test_a_stop_ends_the_moving_of_a_drain(loop: str) -> None:
    options = {"loop": loop, "drain_quiet": 0.1}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there, rig.connect() as busy:
        busy.ask("/slow?seconds=0.5")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain(heirs=[0])
        rig.drain(heirs=None)
        assert busy.answer()[0] == 200
        assert busy.headers["connection"] == "close"
        assert rig.exit().code == 0
        assert there.home.adopted == []


def test_an_heir_that_refuses_leaves_the_connection_where_it_is(loop: str) -> None:
    options = {"loop": loop, "drain_quiet": 0.2}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        there.home.room = 2
        clients = kept(rig, 5)
        rig.drain(heirs=[0])
        assert rig.exit().code == 0
        assert len(there.home.adopted) == 2
        ends = [client for client in clients if is_ended(client.sock)]
        assert len(ends) == 3  # after the quiet time, as in any drain
        assert rig.row[Field.MOVED_DRAIN] == 2
        assert rig.row[Field.UNMOVED] >= 1
        close_all(clients)


def test_an_heir_that_is_stopped_is_given_nothing(loop: str) -> None:
    options = {"loop": loop, "drain_quiet": 0.2}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        there.home.row[Field.WATCH_DUE] = 1  # its watchdog ought to have beaten long ago
        (client,) = kept(rig, 1)
        rig.drain(heirs=[0])
        assert rig.exit().code == 0
        assert client.is_closed()  # after the quiet time, not at the limit
        assert there.home.adopted == []
        client.close()


def test_an_heir_that_never_looks_holds_a_drain_no_longer_than_its_limit(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        (client,) = kept(rig, 1)
        there.call(lambda: there.loop.remove_reader(there.inboxes.fileno(0)))
        rig.drain(timeout=1.0, heirs=[0])
        assert rig.exit().code == 0
        # It lies in the inbox still, and is taken by whoever looks: its sender is dead by then.
        assert not is_ended(client.sock)
        rig.shared.release(1)
        there.call(there.home.open)
        until(lambda: len(there.home.adopted) == 1)
        assert not is_ended(client.sock)
        client.close()


def test_tls_stays_where_its_keys_are(loop: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "all.pem"
    authority.issue_cert("rig").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    options = {"loop": loop, "ssl_certfile": str(certificate), "drain_quiet": 5.0}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with (
            socket.create_connection(rig.address) as plain,
            context.wrap_socket(plain, server_hostname="rig") as secure,
        ):
            secure.sendall(GET)
            assert secure.recv(4096).startswith(b"HTTP/1.1 200")
            with socket.socket() as other:
                assert not there.give(other)  # nor does it take anything
            rig.send(type="give", count=1, to=0)
            rig.drain(heirs=[0])
            rig.count(Field.PHASE, WorkerPhase.DRAINING)
            rig.settle()
            secure.sendall(GET)
            answer = secure.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer
        assert rig.exit().code == 0
        assert there.home.adopted == []


def test_an_order_gives_idle_connections_and_leaves_busy_ones(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        clients = kept(rig, 6)
        busy, half = clients[:2]
        busy.ask("/slow?seconds=1")
        half.send(GET[:-2])
        rig.count(Field.IN_FLIGHT, 1)
        rig.settle()
        there.take_from(rig, 3)
        rig.send(type="give", count=1, to=0)
        until(lambda: len(there.home.adopted) == 4)
        rig.count(Field.MOVED_REBALANCE, 4)
        half.send(GET[-2:])
        assert half.answer()[0] == 200
        assert busy.answer()[0] == 200
        rig.count(Field.CONNECTIONS, 2)
        close_all(clients)


def test_what_comes_while_a_connection_is_on_its_way_is_answered(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        (client,) = kept(rig, 1)
        there.take_from(rig, 1)
        client.send(GET)
        ((connection, luggage),) = there.home.adopted
        there.home.adopted.clear()
        assert there.give(connection, luggage)
        assert client.answer()[0] == 200
        assert (rig.row[Field.ACCEPTED], rig.row[Field.ADOPTED]) == (1, 1)
        client.close()


def test_bytes_that_were_read_travel_along(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        for cut in (0, 1, 10, len(GET) - 1, len(GET)):
            (client,) = kept(rig, 1)
            there.take_from(rig, 1)
            connection, luggage = there.home.adopted.pop()
            came = Luggage(luggage.idle, luggage.asked, 0, GET[:cut])
            client.send(GET[cut:])
            assert there.give(connection, came)
            assert client.answer()[0] == 200
            client.close()
            rig.count(Field.CONNECTIONS, 0)


def test_a_limit_of_connections_holds_for_those_that_move(loop: str) -> None:
    options = {"loop": loop, "limit_connections": 5}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        early = kept(rig, 3)
        given = [_pair(rig) for _ in range(6)]
        for _, server in given:
            assert there.give(server)
        there.settle()
        rig.count(Field.CONNECTIONS, 5)
        until(lambda: len(there.home.back) == 4)
        assert rig.row[Field.ADOPTED] == 2
        for client, _ in given:
            assert not is_ended(client)
            client.close()
        close_all(early)


def test_those_of_one_peer_are_counted_and_not_refused(loop: str) -> None:
    options = {"loop": loop, "limit_peer_connections": 2, "forwarded_allow_ips": ""}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        given = [_pair(rig) for _ in range(3)]
        for _, server in given:
            assert there.give(server)
        rig.count(Field.CONNECTIONS, 3)
        # An end, or a reset: nothing was asked.
        with suppress(ConnectionResetError), rig.connect() as refused:
            assert is_ready(refused.sock, 15.0)
        rig.count(Field.PEERS_REFUSED, 1)
        for client, _ in given:
            client.close()
        rig.count(Field.CONNECTIONS, 0)
        assert rig.get()[0] == 200


def test_time_outs_go_on_where_they_were(loop: str) -> None:
    options = {"loop": loop, "timeout_keep_alive": 60.0, "timeout_head": 30.0}
    with Rig(options=options).serving() as rig, Elsewhere(rig) as there:
        luggages = [Luggage(idle=61.0, asked=1), Luggage(idle=0.0, asked=1), Luggage(idle=61.0)]
        given = [_pair(rig) for _ in luggages]
        for (_, server), luggage in zip(given, luggages, strict=True):
            assert there.give(server, luggage)
        there.settle()
        # Both whose time was over when they came; the other one has a minute.
        for client, _ in (given[0], given[2]):
            assert is_ready(client, 15.0)
            assert is_ended(client)
        assert not is_ended(given[1][0])
        rig.count(Field.CONNECTIONS, 1)
        for client, _ in given:
            client.close()


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_goes_while_its_connection_is_on_its_way(loop: str, is_reset: bool) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        rig.get()  # what the loop opens once, for its first connection
        rig.count(Field.CONNECTIONS, 0)
        before = descriptors(rig) if sys.platform == "linux" else 0
        for _ in range(20):
            client, server = _pair(rig)
            if is_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert there.give(server)
        there.settle()
        rig.count(Field.CONNECTIONS, 0)
        if sys.platform == "linux":
            until(lambda: descriptors(rig) == before)
        assert rig.get()[0] == 200


@linux
@pytest.mark.chaos("C20")
def test_moves_leave_no_descriptor_behind(loop: str) -> None:
    with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
        clients = kept(rig, 100)
        before = descriptors(rig)
        ours = len(os.listdir("/proc/self/fd"))
        for _ in trials("C20", 10, 500, 5000):  # two moves each of a hundred
            there.take_from(rig, 100)
            connections = list(there.home.adopted)
            there.home.adopted.clear()
            for connection, luggage in connections:
                while not there.give(connection, luggage):
                    there.settle()
            there.settle()
            rig.count(Field.CONNECTIONS, 100)
        for client in clients:
            client.ask("/")
            assert client.answer()[0] == 200
        until(lambda: descriptors(rig) == before)
        assert len(os.listdir("/proc/self/fd")) == ours
        assert rig.row[Field.MOVED_REBALANCE] == rig.row[Field.ADOPTED]
        close_all(clients)


@linux
@pytest.mark.chaos("C20")
def test_a_sender_killed_at_any_moment_loses_only_what_it_still_had(loop: str) -> None:
    chance = luck("C20")
    for _ in trials("C20", 3, 100, 1000):
        with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
            clients = kept(rig, 60)
            rig.drain(heirs=[0])
            _kill_after(rig, chance.uniform(0.0, 0.02))
            rig.exit()
            rig.shared.release(1)
            there.wait_until_heard()
            moved = _echoes(there, clients)
            for client in clients:
                assert (client in moved) is not is_ended_soon(client)
                client.close()


@linux
@pytest.mark.chaos("C20")
def test_a_receiver_killed_at_any_moment_takes_only_what_it_had_taken(loop: str) -> None:
    chance = luck("C20")
    for _ in trials("C20", 3, 100, 1000):
        with Rig(options={"loop": loop}).serving() as rig, Elsewhere(rig) as there:
            given = [_pair(rig) for _ in range(60)]
            os.kill(rig.process.pid, chance.choice([signal.SIGSTOP, signal.SIGCONT]))
            for _, server in given:
                assert there.give(server)
            os.kill(rig.process.pid, signal.SIGCONT)
            _kill_after(rig, chance.uniform(0.0, 0.01))
            rig.exit()
            taken = rig.row[Field.ADOPTED]
            rig.shared.release(1)
            there.settle()
            # Each is back, and whole, or was taken and has ended with its worker.
            assert 60 - len(there.home.back) in (taken, taken + 1)  # counted after the answer
            back = {offer.connection.fileno() for offer in there.home.back}
            for client, server in given:
                assert (server.fileno() in back) is not is_ended(client)
                client.close()


def is_ended_soon(client: Client) -> bool:
    """Whether the connection ended with a worker that is gone."""
    return is_ready(client.sock, 0) and is_ended(client.sock)


def _echoes(there: Elsewhere, clients: list[Client]) -> set[Client]:
    """Which clients are heard elsewhere, each once."""
    for number, client in enumerate(clients):
        try:
            client.send(struct.pack("H", number))
        except ConnectionError:
            pass  # it has ended
    heard: set[Client] = set()
    for sock, _ in there.home.adopted:
        sock.settimeout(5.0)
        (number,) = struct.unpack("H", sock.recv(2))
        assert clients[number] not in heard
        heard.add(clients[number])
    return heard


def _kill_after(rig: Rig, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass  # a sleep may take a hundred times as long
    rig.process.kill()


def _pair(rig: Rig) -> tuple[socket.socket, socket.socket]:
    """A client and its connection, accepted here: as if a sibling had."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.settimeout(5.0)
        server, _ = listener.accept()
    return client, server
