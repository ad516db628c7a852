"""What a WSGI application answers is one answer, also when it is wrong."""

import json
import os
import socket
import urllib.parse
from pathlib import Path

import pytest

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import Rig, is_ready

pytestmark = pytest.mark.timeout(30)


def served(server: str, **options: object) -> Rig:
    return Rig("wsgi_answers:app", options={"server": server, "loop": "asyncio", **options})


def test_a_length_that_is_wrong_from_the_beginning_is_500(
    any_server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(any_server) as rig:
        rig.serving()
        for path in ("/longer-at-once", "/no-number"):
            assert rig.get(path)[0] == 500
        rig.count(Field.ERRORS, 2)
    said = capfd.readouterr().err
    assert "the body is longer than its Content-Length" in said
    assert "Content-Length 'ten' is no number" in said


def test_an_answer_ends_where_its_length_says(any_server: str) -> None:
    with served(any_server) as rig, rig.serving().connect() as client:
        client.ask("/longer")
        assert client.answer() == (200, b"ab")
        assert rig.tells() == "closed\n"
        rig.count(Field.ERRORS, 1)
        if any_server == "granian":
            client.ask("/bytes")  # of the answer before, nothing is on the way
            assert client.answer()[0] == 500
        else:
            assert client.is_closed()


def test_an_answer_that_is_too_short_ends_the_connection(any_server: str) -> None:
    with served(any_server) as rig, rig.serving().connect() as client:
        client.ask("/shorter")
        assert client.head() == 200
        assert rig.tells() == "closed\n"
        assert client.rest() == b"abc"
        rig.count(Field.ERRORS, 1)


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_is_sent_without(status: int, any_server: str) -> None:
    with served(any_server) as rig, rig.serving().connect() as client:
        for _ in range(2):
            client.ask(f"/{status}")
            assert client.head() == status
        client.ask("/reused", method="HEAD")
        assert client.head() == 200
        client.ask("/reused")
        assert client.answer()[0] == 200
        assert rig.row[Field.ERRORS] == 0


def test_a_buffer_may_be_used_again(any_server: str) -> None:
    with served(any_server) as rig:
        body = b"".join(b"%04d" % number for number in range(8))
        assert rig.serving().get("/reused") == (200, body)


@pytest.mark.parametrize(("path", "kind"), [("/text", "str"), ("/bytes", "int")])
def test_what_is_no_bytes_is_500(
    path: str, kind: str, any_server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(any_server) as rig:
        assert rig.serving().get(path)[0] == 500
    assert f"a piece of the body is {kind}, and has to be bytes" in capfd.readouterr().err


def test_a_second_start_after_the_first_was_sent_raises_what_it_was_for(
    any_server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(any_server) as rig:
        with rig.serving().connect() as client:
            client.ask("/again")
            assert client.head() == 200
            assert client.rest().startswith(b"4\r\nsome\r\n")
        rig.count(Field.ERRORS, 1)
    assert "ValueError: as asked" in capfd.readouterr().err


def test_only_blanks_are_taken_from_a_value(any_server: str) -> None:
    with served(any_server) as rig, rig.serving().connect() as client:
        client.send(b"GET /blanks HTTP/1.1\r\nHost: rig\r\nConnection: close\r\n\r\n")
        lines = client.rest().split(b"\r\n")
        assert b"x-blanks: \xe0 \xa0" in lines


@pytest.mark.parametrize(("path", "server"), [("/blanks", b"its"), ("/", b"tercio")])
def test_there_is_one_date_and_one_server(path: str, server: bytes) -> None:
    with served("tercio") as rig, rig.serving().connect() as client:
        client.ask(path, "Connection: close")
        lines = client.rest().split(b"\r\n")
        assert [line for line in lines if line.startswith(b"server:")] == [b"server: " + server]
        (date,) = [line for line in lines if line.startswith(b"date:")]
        assert (date == b"date: now") == (path == "/blanks")


@pytest.mark.parametrize("root", ["", "/root"])
def test_a_path_is_the_bytes_that_the_client_sent(root: str, any_server: str) -> None:
    with served(any_server, root_path=root) as rig:
        rig.serving()
        for path in (b"/plain", b"/root/x", "/grün".encode(), b"/\xff\xfe\x80", b"/100%"):
            status, body = rig.get(urllib.parse.quote(path))
            environ = json.loads(body)
            assert (status, environ["PATH_INFO"]) == (200, path.decode("latin-1"))
            assert environ["SCRIPT_NAME"] == root


def test_a_unix_socket_has_a_name_that_urls_can_be_made_of(any_server: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    options = {"server": any_server, "loop": "asyncio"}
    with Rig("wsgi_answers:app", options=options, unix=path) as rig:
        status, body = rig.serving().get()
        environ = json.loads(body)
        assert status == 200
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")
        assert environ["REMOTE_ADDR"] == ""


def test_pieces_wait_by_their_size(any_server: str) -> None:
    """Of those that nobody reads, only a few MiB are in the kernel, and still fewer here."""
    with served(any_server) as rig, rig.serving().connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.ask("/large-pieces")
        assert client.head() == 200
        told = [rig.tells()]
        while is_ready(rig.news, 0.5):
            told.append(rig.tells())
        assert int("".join(told).split()[-1]) < 12


def test_who_left_before_a_thread_was_free_is_not_served(server: str) -> None:
    with served(server, threads=1) as rig, rig.serving().connect() as first:
        first.ask("/wait")
        with rig.connect() as second:
            second.ask("/never-called")
            rig.count(Field.IN_FLIGHT, 2)
        rig.count(Field.CONNECTIONS, 1)
        os.write(rig.hold, b"x")
        assert first.answer()[0] == 500  # it did not begin one
        assert rig.get()[0] == 200
        assert rig.tells() == "called\n"
        rig.count(Field.ERRORS, 1)


def test_an_order_that_came_whole_is_carried_out_for_a_client_that_left(server: str) -> None:
    with served(server, threads=1) as rig, rig.serving().connect() as first:
        first.ask("/wait")
        with rig.connect() as second:
            second.ask("/order", method="POST", body=b"an order")
            rig.count(Field.IN_FLIGHT, 2)
        rig.count(Field.CONNECTIONS, 1)
        os.write(rig.hold, b"x")
        assert rig.tells() == "an order\n"
