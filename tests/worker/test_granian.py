"""granian behind our port: it can be parked, serves again, and leaves without losing a request.

What is asked of all servers is asked of it too where it can: its connections cannot be counted.
"""

import importlib.util
import json
import select
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import LIMIT, Client, Rig, until

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(
        importlib.util.find_spec("granian") is None,
        reason="our use of granian needs Linux's epoll, so it is installed there only",
    ),
]


@pytest.fixture
def rig(loop: str) -> Rig:
    return granian(loop)


def granian(loop: str, app: str = "apps:app", **options: object) -> Rig:
    return Rig(app, options={"server": "granian", "loop": loop, "drain_quiet": 0.3, **options})


def test_a_request_is_answered_and_counted(rig: Rig) -> None:
    with rig:
        assert rig.serving().get() == (200, str(rig.process.pid).encode())
        rig.count(Field.REQUESTS, 1)
        rig.count(Field.IN_FLIGHT, 0)


def test_what_fails_is_answered_500_and_counted(rig: Rig) -> None:
    with rig:
        assert rig.serving().get("/raise") == (500, b"Internal Server Error")
        rig.count(Field.STATUS_5XX, 1)


def test_a_start_up_that_fails_is_told(loop: str) -> None:
    with granian(loop, "lifespans:says_failed") as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "lifespan"


def test_a_parked_worker_keeps_its_connections_and_takes_none(rig: Rig) -> None:
    with rig, rig.serving().connect() as kept:
        kept.ask()
        assert kept.answer()[0] == 200
        rig.send(type="park")
        rig.settle()
        with rig.connect() as waiting:
            waiting.ask()
            for _ in range(3):
                kept.ask()
                assert kept.answer()[0] == 200
                assert "connection" not in kept.headers
            assert not select.select([waiting.sock], [], [], 0.2)[0]
            rig.send(type="serve")
            assert waiting.answer()[0] == 200


def test_every_connection_of_many_is_accepted(rig: Rig) -> None:
    with rig:
        rig.serving()
        clients = [rig.connect() for _ in range(100)]
        for client in clients:
            client.ask()
        for client in clients:
            assert client.answer()[0] == 200
            client.close()


def test_it_is_parked_and_serves_again_many_times(rig: Rig) -> None:
    with rig:
        rig.serving()
        for _ in range(20):
            rig.send(type="park")
            rig.settle()
            with rig.connect() as client:
                client.ask()
                rig.send(type="serve")
                assert client.answer()[0] == 200


def test_kept_connections_are_told_and_closed_when_quiet(rig: Rig) -> None:
    with rig:
        rig.serving()
        clients = [rig.connect() for _ in range(10)]
        for client in clients:
            client.ask()
            assert client.answer()[0] == 200
        rig.drain()
        rig.settle()
        for client in clients[:5]:
            client.ask()
            assert client.answer()[0] == 200
            assert client.headers["connection"] == "close"
        for client in clients:
            assert client.is_closed()
            client.close()
        assert rig.exit().code == 0
        assert not rig.said("cut")


def test_a_busy_client_never_fails(rig: Rig) -> None:
    with rig:
        rig.serving()
        clients = [rig.connect() for _ in range(8)]
        busy = set(clients)

        def ask_all() -> bool:
            for client in list(busy):
                client.ask()
                assert client.answer()[0] == 200
                if client.headers.get("connection") == "close":
                    busy.remove(client)
            return not busy

        for _ in range(20):
            ask_all()
        rig.drain()
        until(ask_all)
        assert rig.exit().code == 0
        for client in clients:
            client.close()


def test_a_connection_in_the_queue_stays_there(rig: Rig) -> None:
    with rig, rig.serving().connect() as kept:
        kept.ask()
        assert kept.answer()[0] == 200
        rig.send(type="park")
        rig.settle()
        with rig.connect() as client:
            client.ask()
            rig.drain()
            assert rig.exit().code == 0
            accepted, _ = rig.listener.accept()
            assert accepted.recv(3) == b"GET"
            accepted.close()


def test_an_endless_answer_is_cut_at_the_limit(rig: Rig) -> None:
    with rig, rig.serving().connect() as client:
        client.ask("/stream")
        assert client.head() == 200
        rig.drain(timeout=0.5)
        assert rig.exit().code == 0
        cut = {"type": "cut", "requests": 1, "websockets": 0, "paths": ["/stream"]}
        assert [cut] == rig.said("cut")


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
            rig.send(type="park")
            rig.settle()
            websocket.send("parked")
            assert websocket.recv(LIMIT) == "parked"
            rig.drain(timeout=0.6, close_code=code, close_at_once=at_once)
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(LIMIT)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
        assert rig.exit().code == 0
        assert [message["websockets"] for message in rig.said("cut")] == [cut] * cut
        assert rig.row[Field.WEBSOCKETS] == 0


def test_a_root_path_and_a_proxy_are_as_with_the_other_servers(loop: str) -> None:
    app = {"app": "tests.http.parity.apps:app"}
    options = {"server": "granian", "loop": loop, "root_path": "/shop"}
    with Rig(options=options, record=app) as rig, rig.serving().connect() as client:
        client.ask("/seen", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
        status, body = client.answer()
        assert status == 200
        scope = json.loads(body)
        assert (scope["root_path"], scope["path"]) == ("/shop", "/shop/seen")
        assert (scope["client"], scope["scheme"]) == (["203.0.113.9", 0], "https")
        assert scope["server"] == list(rig.address)


def test_it_serves_tls(loop: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "certificate.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with granian(loop, ssl_certfile=str(certificate)) as rig:
        plain = rig.serving().connect()
        wrapped = context.wrap_socket(plain.sock, server_hostname="localhost")
        plain.close()
        with Client(rig.address, wrapped) as client:
            client.ask()
            assert client.answer()[0] == 200


def test_what_would_be_less_safe_is_refused(loop: str) -> None:
    with granian(loop, ssl_ciphers="HIGH") as rig:
        failed = rig.wait_for("failed")
        assert failed["stage"] == "options"
        assert "--ssl-ciphers" in failed["error"]


def test_what_it_does_not_keep_is_told(loop: str) -> None:
    with granian(loop, timeout_write=5.0) as rig:
        note = rig.wait_for("note")
        assert "--timeout-write" in note["text"]


WITHOUT = "import sys; sys.modules['granian'] = None; from tercio.cli.main import main; main()"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["-c", WITHOUT, "run", "app"], "pip install 'granian"),
        (["-m", "tercio", "run", "app", "--ssl-ciphers", "HIGH"], "--ssl-ciphers"),
    ],
)
def test_the_command_line_says_what_is_missing_and_ends_with_2(
    command: list[str], words: str
) -> None:
    ended = subprocess.run(
        [sys.executable, *command, "--server", "granian"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_who_reads_nothing_is_cut_and_the_worker_ends_well(loop: str) -> None:
    options = {"server": "granian", "loop": loop, "drain_quiet": 0.2, "factory": True}
    with (
        Rig(options=options, record={"app": "tests.http.pages:Pages"}) as rig,
        rig.serving().connect() as client,
        rig.connect() as half,
    ):
        half.send(b"GET / HT")
        client.ask("/large")
        assert client.head() == 200
        rig.drain(timeout=0.4)
        assert rig.exit().code == 0
        assert rig.said("cut")[0]["paths"] == ["/large"]
