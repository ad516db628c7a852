"""What is around a request: log lines, TLS, the worker's own life. The same of both servers."""

import json
import socket
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.frames import Opcode

from tests.http.parity.place import Places
from tests.http.parity.test_websockets import Raw, opened, raw, refused
from tests.worker.rig import LIMIT

AUTHORITY = trustme.CA()


# Log lines


def test_access_lines_say_what_was_asked_and_answered(places: Places, server: str) -> None:
    # Of a worker of its own: nobody else's lines are in between.
    place = places.of(server, use_colors=False, backlog=11)
    place.get("/hello/a%20b/%C3%BC?x=%20&y")
    with place.connect() as client:
        client.ask("/with-status?204", method="HEAD")
        client.head()
        client.ask("/unread", method="POST", body=b"x")
        client.answer()
    with place.connect() as client:
        client.send(b"GET /fails-before HTTP/1.0\r\nHost: rig\r\n\r\n")
        client.answer()
    place.get("/hello", "X-Forwarded-For: 1.2.3.4:567")
    assert place.lines(5) == [
        'INFO:     127.0.0.1:0 - "GET /hello/a%20b/%C3%BC?x=%20&y HTTP/1.1" 200 OK',
        'INFO:     127.0.0.1:0 - "HEAD /with-status?204 HTTP/1.1" 204 No Content',
        # Its name is another one since Python 3.13.
        f'INFO:     127.0.0.1:0 - "POST /unread HTTP/1.1" 413 {HTTPStatus(413).phrase}',
        'INFO:     127.0.0.1:0 - "GET /fails-before HTTP/1.0" 500 Internal Server Error',
        'INFO:     1.2.3.4:0 - "GET /hello HTTP/1.1" 200 OK',
    ]


def test_access_lines_can_be_coloured(places: Places, server: str) -> None:
    place = places.of(server, use_colors=True)
    place.get("/hello")
    (line,) = place.lines(1)
    assert line == (
        "\x1b[32mINFO\x1b[0m:     127.0.0.1:0 - "
        '"\x1b[1mGET /hello HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m'
    )


def test_over_a_unix_socket_an_access_line_has_no_client(
    places: Places, server: str, tmp_path: Path
) -> None:
    place = places.of(server, unix=str(tmp_path / "s"))
    place.get("/hello")
    assert place.lines(1) == ['INFO:      - "GET /hello HTTP/1.1" 200 OK']


def test_access_lines_can_be_switched_off(places: Places, server: str) -> None:
    place = places.of(server, access_log=False)
    place.get("/hello")
    # Its output is empty: this line is what the worker writes after that request.
    place.get("/print")
    assert place.lines(1) == ["printed"]


def test_websockets_are_logged_with_what_became_of_them(places: Places, server: str) -> None:
    place = places.of(server, errors=True, use_colors=False)
    with opened(place, "/ws-echo/%20?x"):
        pass
    refused(place, "/ws-refuse")
    refused(place, "/ws-deny")
    wanted = [line for line in place.lines_until("401") if "WebSocket" in line]
    # The server's own lines name the worker.
    assert wanted == [
        'INFO:     [3.7] 127.0.0.1:0 - "WebSocket /ws-echo/%20?x" [accepted]',
        'INFO:     [3.7] 127.0.0.1:0 - "WebSocket /ws-refuse" 403',
        'INFO:     [3.7] 127.0.0.1:0 - "WebSocket /ws-deny" 401',
    ]


def test_an_exception_is_logged_with_its_traceback(places: Places, server: str) -> None:
    place = places.of(server, errors=True, use_colors=False, log_level="warning")
    with place.connect() as client:
        client.ask("/fails-before")
        client.answer()
    lines = place.lines_until("ValueError: ")
    assert lines[0] == "ERROR:    [3.7] Exception in ASGI application"
    assert lines[-1] == "ValueError: as asked"
    assert any("in fails_before" in line for line in lines)


# TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("tls")
    issued = AUTHORITY.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(directory / "chain"))
    issued.private_key_pem.write_to_path(str(directory / "key"))
    return {"ssl_certfile": str(directory / "chain"), "ssl_keyfile": str(directory / "key")}


def secure(places: Places, server: str, files: dict[str, Any]) -> Raw:
    place = places.of(server, **files)
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(place.rig.address, LIMIT)
    return Raw(place.rig.address, context.wrap_socket(plain, server_hostname="127.0.0.1"))


def test_over_tls_the_scheme_is_https(places: Places, server: str, files: dict[str, Any]) -> None:
    with secure(places, server, files) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert client.sock.selected_alpn_protocol() == "http/1.1"
        client.ask("/seen")
        assert json.loads(client.answer()[1])["scheme"] == "https"


def test_a_large_body_goes_both_ways_over_tls(
    places: Places, server: str, files: dict[str, Any]
) -> None:
    data = bytes(range(256)) * 20_000
    with secure(places, server, files) as client:
        client.ask("/messages", method="POST", body=data)
        assert client.answer() == (200, data)


def test_over_tls_a_websocket_is_wss(places: Places, server: str, files: dict[str, Any]) -> None:
    with secure(places, server, files) as client:
        client.upgrade("/ws-seen")
        assert json.loads(client.next()[1])["scheme"] == "wss"


# The end of a worker


def test_a_drain_finishes_what_was_asked(places: Places, server: str) -> None:
    place = places.of(server, drain_quiet=20.0)
    with place.connect() as client, place.connect() as other:
        client.ask("/slow?drain")
        place.told("waiting")
        other.ask("/hello")
        assert other.answer() == (200, b"hello")
        place.rig.drain()
        place.rig.settle()
        other.ask("/open?drain")
        assert other.answer() == (200, b"")
        assert other.headers["connection"] == "close"
        assert other.is_closed()
        assert client.answer() == (200, b"slow")
        assert client.headers["connection"] == "close"
        assert client.is_closed()
    assert place.rig.exit().code == 0


def test_a_drain_says_goodbye_to_websockets(places: Places, server: str) -> None:
    place = places.of(server, drain_quiet=19.0)
    with raw(place) as client:
        client.upgrade("/ws-end")
        place.rig.drain(close_at_once=True)
        opcode, data = client.next()
        assert (opcode, data[:2]) == (Opcode.CLOSE, b"\x03\xf4")  # 1012
        client.frame(Opcode.CLOSE, data)
        assert client.is_closed()
    assert place.rig.exit().code == 0
