"""uvicorn in our life: errors stay where they are, counts are right, nothing is kept for long."""

import socket
import struct
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import LIMIT, Client, Rig

pytestmark = pytest.mark.timeout(30)


def test_errors_of_the_app_are_500_and_no_more(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, rig.serving().connect() as client:
        for path in ("/raise", "/exit", "/exit-in-task"):
            assert rig.get(path)[0] == 500
        client.ask("/stop-loop")
        assert client.answer()[0] == 200
        assert rig.get("/who")[0] == 200
        rig.count(Field.REQUESTS, 5)  # an answer is counted when it is on its way
        assert rig.row[Field.ERRORS] == 3
        assert rig.row[Field.STATUS_5XX] == 3
        assert rig.row[Field.STATUS_2XX] == 2
        rig.count(Field.CONNECTIONS, 1)
        assert rig.row[Field.ACCEPTED] == 5


def test_errors_of_websockets_are_counted(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig:
        rig.serving()
        with connect("ws://{}:{}/raise".format(*rig.address), open_timeout=LIMIT) as websocket:
            websocket.send("hello")
            assert websocket.recv(LIMIT) == "hello"
        rig.count(Field.ERRORS, 1)
        rig.count(Field.CONNECTIONS, 0)
        assert rig.row[Field.REQUESTS] == 0


def test_durations_are_summed() -> None:
    with Rig() as rig:
        rig.serving().get("/slow?seconds=0.2")
        rig.count(Field.REQUESTS, 1)
        assert 200_000 <= rig.row[Field.DURATION_US] < 1_000_000


def test_a_client_that_resets_leaves_nothing(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig:
        rig.serving()
        client = rig.connect()
        client.ask("/slow?seconds=20")
        rig.count(Field.IN_FLIGHT, 1)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        rig.count(Field.CONNECTIONS, 0)
        assert rig.row[Field.IN_FLIGHT] == 0
        assert rig.row[Field.REQUESTS] == 1


def test_an_idle_connection_is_closed_after_its_time(loop: str) -> None:
    options = {"loop": loop, "timeout_keep_alive": 0.3}
    with Rig(options=options) as rig, rig.serving().connect() as client:
        client.ask()
        client.answer()
        assert client.is_closed()


def test_a_request_that_waits_is_not_closed_by_the_keep_alive_timer(loop: str) -> None:
    options = {"loop": loop, "timeout_keep_alive": 0.3}
    with Rig(options=options) as rig, rig.serving().connect() as idle, rig.connect() as blocking:
        idle.ask()
        idle.answer()
        blocking.ask("/block?seconds=0.8")
        rig.count(Field.IN_FLIGHT, 1)
        idle.ask()
        assert idle.answer()[0] == 200


def test_a_unix_socket_is_served(loop: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with Rig(options={"loop": loop}, unix=path) as rig:
        rig.serving()
        with Client(path) as client:
            client.ask("/who")
            assert client.answer()[0] == 200
        rig.drain()
        assert rig.exit().code == 0


def test_headers_and_dates_are_sent() -> None:
    options = {"header": ["X-Rig: yes"], "server_header": False}
    with Rig(options=options) as rig, rig.serving().connect() as client:
        client.ask()
        client.answer()
        assert client.headers["x-rig"] == "yes"
        assert client.headers["date"].endswith(" GMT")
        assert "server" not in client.headers


def test_the_limit_of_concurrency_is_kept() -> None:
    with Rig(options={"limit_concurrency": 2}) as rig:
        rig.serving()
        with rig.connect() as first:
            first.ask("/slow?seconds=5")
            rig.count(Field.IN_FLIGHT, 1)
            assert rig.get()[0] == 503


def test_running_out_of_descriptors_is_survived(loop: str) -> None:
    options = {"loop": loop, "log_level": "critical"}
    with Rig(options=options, record={"rlimits": {"nofile": 56}}) as rig:
        rig.serving()
        clients = [Client(rig.address) for _ in range(60)]
        for client in clients[:5]:
            client.ask()
            assert client.answer()[0] == 200
        for client in clients[:50]:
            client.close()
        for client in clients[50:]:
            client.ask()
            client.sock.settimeout(LIMIT)
            assert client.answer()[0] == 200
            client.close()
