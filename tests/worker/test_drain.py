"""A worker that leaves loses no request, tells what it had to cut, and takes no longer than it may.

``rig.drain`` is followed by a pause in some tests. That is the case under test, a client that
thinks; no test waits for the worker that way.
"""

import json
import select
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import LIMIT, Rig, until

pytestmark = pytest.mark.timeout(30)


def think(seconds: float) -> None:
    """What a client does between two requests."""
    select.select([], [], [], seconds)


@pytest.fixture
def rig(loop: str) -> Rig:
    return Rig(options={"loop": loop, "drain_quiet": 0.4})


def test_an_empty_worker_leaves_at_once(rig: Rig) -> None:
    with rig:
        rig.serving().get()
        rig.count(Field.CONNECTIONS, 0)
        began = time.monotonic()
        rig.drain(timeout=60)
        assert rig.exit().code == 0
        assert time.monotonic() - began < 20


def test_a_connection_that_was_never_used_gets_its_answer(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        rig.count(Field.CONNECTIONS, 1)
        rig.drain()
        think(0.2)
        client.ask()
        assert client.answer()[0] == 200
        assert client.headers["connection"] == "close"
        assert client.is_closed()
        assert rig.exit().code == 0


def test_a_connection_that_is_still_in_the_queue_stays_there(rig: Rig) -> None:
    with rig, rig.connect() as client:
        rig.wait_for("ready")
        client.ask()
        rig.drain()  # it never served: the connection is the next worker's
        assert rig.exit().code == 0
        accepted, _ = rig.listener.accept()
        assert accepted.recv(3) == b"GET"
        accepted.close()


def test_kept_alive_connections_are_answered_and_closed_when_quiet(rig: Rig) -> None:
    with rig:
        rig.serving()
        clients = [rig.connect() for _ in range(20)]
        for client in clients:
            client.ask()
            assert client.answer()[0] == 200
            assert "connection" not in client.headers
        rig.drain()
        began = time.monotonic()
        for client in clients[:10]:
            think(0.01)
            client.ask()
            assert client.answer()[0] == 200
            assert client.headers["connection"] == "close"
        for client in clients:
            assert client.is_closed()
        assert time.monotonic() - began > 0.35
        assert rig.exit().code == 0
        for client in clients:
            client.close()


def test_a_running_request_is_finished(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/slow?seconds=0.6")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain()
        assert client.answer()[0] == 200
        assert client.headers["connection"] == "close"
        assert rig.exit().code == 0
        assert not rig.said("cut")


def test_pipelined_requests_are_all_answered(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/slow?seconds=0.3")
        client.ask("/slow?seconds=0.1")
        client.ask("/who")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain()
        answers = [(client.answer()[0], client.headers.get("connection")) for _ in range(3)]
        assert answers == [(200, None), (200, None), (200, "close")]
        assert client.is_closed()


def test_a_request_that_is_half_read_has_time_until_the_limit(rig: Rig) -> None:
    with rig, rig.serving().connect() as body, rig.connect() as head:
        body.send(b"POST /body HTTP/1.1\r\nHost: rig\r\nContent-Length: 6\r\n\r\nabc")
        head.send(b"GET / HTTP/1.1\r\nHo")
        rig.count(Field.IN_FLIGHT, 1)
        rig.count(Field.CONNECTIONS, 2)
        rig.drain()
        think(0.6)  # longer than quiet
        body.send(b"def")
        assert body.answer() == (200, b"6")
        head.send(b"st: rig\r\n\r\n")
        assert head.answer()[0] == 200
        assert rig.exit().code == 0


def test_what_is_half_read_at_the_limit_is_cut(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: rig\r\nContent-Length: 6\r\n\r\nabc")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain(timeout=0.3)
        assert rig.exit().code == 0
        cut = {"type": "cut", "requests": 1, "websockets": 0, "paths": ["/body"]}
        assert [cut] == rig.said("cut")


def test_long_paths_do_not_keep_a_cut_from_being_told(loop: str) -> None:
    options = {"loop": loop, "limit_request_line": 50_000}
    with Rig("large:app", options=options) as rig, rig.serving().connect() as client:
        with rig.connect() as other:
            client.ask("/wait-a" + "x" * 40_000)
            other.ask("/wait-b" + "x" * 40_000)
            rig.count(Field.IN_FLIGHT, 2)
            rig.drain(timeout=0.1)
            assert rig.exit().code == 0
        (cut,) = rig.said("cut")
        assert [path[:8] for path in cut["paths"]] == ["/wait-ax", "/wait-bx"]
        assert rig.tells() == "shut down\n"


def test_an_endless_answer_is_cut_at_the_limit(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/stream")
        assert client.head() == 200
        began = time.monotonic()
        rig.drain(timeout=0.5)
        assert rig.exit().code == 0
        assert 0.5 <= time.monotonic() - began < 20, "it has no end of its own"
        cut = {"type": "cut", "requests": 1, "websockets": 0, "paths": ["/stream"]}
        assert [cut] == rig.said("cut")


def test_an_endless_answer_to_nobody_holds_nothing(rig: Rig) -> None:
    with rig:
        with rig.serving().connect() as client:
            client.ask("/stream")
            assert client.head() == 200
        rig.count(Field.CONNECTIONS, 0)
        began = time.monotonic()
        rig.drain(timeout=60)
        assert rig.exit().code == 0
        assert time.monotonic() - began < 20
        assert not rig.said("cut")


def test_work_after_the_answer_is_finished(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/afterwards?seconds=0.5", "Connection: close")
        assert client.answer()[0] == 200
        rig.drain()
        assert rig.exit().code == 0
        assert rig.tells() == "done\n"


def test_a_stop_shortens_a_drain_that_runs(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/slow?seconds=20")
        rig.count(Field.IN_FLIGHT, 1)
        rig.drain(timeout=20)
        rig.drain(timeout=0.2, reason="stop", close_code=1001, close_at_once=True)
        assert rig.exit(5).code == 0
        assert rig.said("cut")[0]["requests"] == 1


@pytest.mark.parametrize(
    ("at_once", "code", "reason", "cut"),
    [(True, 1001, "going away", 0), (False, 1012, "service restart", 1)],
)
def test_websockets_are_told_why(rig: Rig, at_once: bool, code: int, reason: str, cut: int) -> None:
    with rig:
        rig.serving()
        with connect("ws://{}:{}/".format(*rig.address), open_timeout=LIMIT) as websocket:
            websocket.send("hello")
            assert websocket.recv(LIMIT) == "hello"
            assert rig.row[Field.WEBSOCKETS] == 1
            assert rig.row[Field.CONNECTIONS] == 1
            rig.drain(timeout=0.4, close_code=code, close_at_once=at_once)
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(LIMIT)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
        assert rig.exit().code == 0
        assert [message["websockets"] for message in rig.said("cut")] == [cut] * cut
        assert rig.row[Field.WEBSOCKETS] == 0


def test_a_websocket_talks_on_until_the_limit(rig: Rig) -> None:
    with rig:
        rig.serving()
        with connect("ws://{}:{}/".format(*rig.address), open_timeout=LIMIT) as websocket:
            rig.drain(timeout=10)
            for number in range(3):
                websocket.send(json.dumps(number))
                assert websocket.recv(LIMIT) == json.dumps(number)
        assert rig.exit().code == 0
        assert not rig.said("cut")


def test_a_busy_keep_alive_client_never_fails(rig: Rig) -> None:
    """Three drains' worth of clients that ask all the time."""
    with rig:
        rig.serving()
        clients = [rig.connect() for _ in range(8)]
        open_ones = set(clients)
        answered = 0

        def ask_all() -> bool:
            nonlocal answered
            for client in list(open_ones):
                client.ask()
                assert client.answer()[0] == 200
                answered += 1
                if client.headers.get("connection") == "close":
                    open_ones.remove(client)
            return not open_ones

        for _ in range(20):
            ask_all()
        rig.drain()
        until(ask_all)
        assert answered >= 168
        assert rig.exit().code == 0
        for client in clients:
            client.close()
