"""How an application gets a request: the same from both servers."""

import json
import select
import socket
from typing import Any

import pytest

from tests.http.parity.place import Place, Places
from tests.worker.rig import LIMIT, is_ready


def seen(place: Place, request: bytes) -> dict[str, Any]:
    """The scope that a request becomes."""
    with place.connect() as client:
        client.send(request)
        status, body = client.answer()
        assert status == 200, body
        scope: dict[str, Any] = json.loads(body)
        return scope


def request(
    target: str = "/seen", *headers: str, method: str = "GET", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: rig", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def echo(place: Place, request: bytes, path: str = "/messages") -> tuple[bytes, str]:
    """The body as the application put it together, and whether it came in several messages."""
    with place.connect() as client:
        client.send(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: rig\r\n" + request)
        status, body = client.answer()
        assert status == 200
        return body, client.headers["x-more"]


# The scope


def test_the_scope_says_what_was_asked(place: Place) -> None:
    with place.connect() as client:
        client.ask("/seen/a%20b/%C3%BC%2F?x=1&y=%20")
        scope = json.loads(client.answer()[1])
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/seen/a b/ü/",
            "raw_path": "/seen/a%20b/%C3%BC%2F",
            "query_string": "x=1&y=%20",
            "root_path": "",
            "headers": [["host", "rig"]],
            "client": list(client.sock.getsockname()),
            "server": list(place.rig.address),
            "state": scope["state"],
            "extensions": None,
        }


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/seen?", "/seen", "/seen", ""),
        ("/seen??a?b", "/seen", "/seen", "?a?b"),
        ("/seen/%ff", "/seen/\ufffd", "/seen/%ff", ""),
        ("/seen/%zz%", "/seen/%zz%", "/seen/%zz%", ""),
        ("/seen//a/../b;c", "/seen//a/../b;c", "/seen//a/../b;c", ""),
        ("/seen/+", "/seen/+", "/seen/+", ""),
        ("http://elsewhere:81/seen/x?y", "/seen/x", "/seen/x", "y"),
    ],
)
def test_a_target_is_taken_apart(
    place: Place, target: str, path: str, raw_path: str, query: str
) -> None:
    scope = seen(place, request(target))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_header_names_are_lower_case_and_their_order_is_kept(place: Place) -> None:
    lines = ["X-B: 2", "x-a: 1", "X-B:   3", "X-Empty:", "Cookie: a=b; c=d", "X-Latin: \xfc"]
    assert seen(place, request("/seen", *lines))["headers"] == [
        ["host", "rig"],
        ["x-b", "2"],
        ["x-a", "1"],
        ["x-b", "3"],
        ["x-empty", ""],
        ["cookie", "a=b; c=d"],
        ["x-latin", "\xfc"],
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"])
def test_the_method_is_told(place: Place, method: str) -> None:
    assert seen(place, request(method=method, target="/seen"))["method"] == method


def test_the_version_is_told(place: Place) -> None:
    assert seen(place, request(version="1.0"))["http_version"] == "1.0"


def test_each_request_has_a_copy_of_the_state(places: Places, server: str) -> None:
    # Of a worker of its own: what is shared grows.
    place = places.of(server, log_level="info", backlog=7)
    assert [json.loads(place.get("/state")) for _ in range(3)] == [
        {"plain": 1, "shared": []},
        {"plain": 1, "shared": [0]},
        {"plain": 1, "shared": [0, 1]},
    ]


def test_each_request_has_a_context_of_its_own(place: Place) -> None:
    with place.connect() as client:
        for _ in range(2):
            client.ask("/context")
            assert client.answer() == (200, b"nothing")


def test_a_large_head_is_taken(place: Place) -> None:
    lines = [f"X-{number}: {'x' * 6000}" for number in range(10)]
    assert len(seen(place, request("/seen", *lines))["headers"]) == 11


def test_a_root_path_stands_before_the_path(places: Places, server: str) -> None:
    scope = seen(places.of(server, root_path="/api"), request("/seen/%20?q"))
    assert scope["root_path"] == "/api"
    assert (scope["path"], scope["raw_path"]) == ("/api/seen/ ", "/api/seen/%20")


@pytest.mark.parametrize(
    ("lines", "client", "scheme"),
    [
        (["X-Forwarded-For: 1.2.3.4"], ["1.2.3.4", 0], "http"),
        (["X-Forwarded-For: 6.6.6.6, 1.2.3.4:80, 127.0.0.1"], ["1.2.3.4", 80], "http"),
        (
            ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: [2001:db8::1]:5"],
            ["2001:db8::1", 5],
            "http",
        ),
        (["X-Forwarded-For: 6.6.6.6, unknown"], ["unknown", 0], "http"),
        (["X-Forwarded-For: "], None, "http"),
        (["X-Forwarded-Proto: https"], None, "https"),
        (["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"], None, "https"),
        (["X-Forwarded-Proto: gopher"], None, "http"),
        (["X-Forwarded-Host: evil", "Forwarded: for=6.6.6.6;proto=https"], None, "http"),
    ],
)
def test_a_trusted_proxy_is_believed(
    place: Place, lines: list[str], client: object, scheme: str
) -> None:
    scope = seen(place, request("/seen", *lines))
    assert scope["scheme"] == scheme
    if client is None:
        assert scope["client"][0] == "127.0.0.1"
    else:
        assert scope["client"] == client


@pytest.mark.parametrize(
    "options", [{"forwarded_allow_ips": "10.0.0.0/8"}, {"proxy_headers": False}]
)
def test_nobody_else_is_believed(places: Places, server: str, options: dict[str, Any]) -> None:
    lines = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"]
    scope = seen(places.of(server, **options), request("/seen", *lines))
    assert scope["scheme"] == "http"
    assert scope["client"][0] == "127.0.0.1"


def test_over_a_unix_socket_there_is_no_client(
    places: Places, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("u") / "s")
    scope = seen(places.of(server, unix=path), request())
    assert scope["client"] is None
    assert scope["server"] == [path, None]


# The body


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        (b"\r\n", b""),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (
            b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n",
            b"hello",
        ),
    ],
)
def test_a_body_comes_as_one_message_if_it_came_at_once(
    place: Place, rest: bytes, body: bytes
) -> None:
    assert echo(place, rest) == (body, "False")


def test_a_body_comes_as_it_arrives(place: Place) -> None:
    with place.connect() as client:
        client.send(b"POST /messages HTTP/1.1\r\nHost: rig\r\nContent-Length: 6\r\n\r\nfoo")
        # The worker has read this before another request of another connection is answered.
        place.get("/hello")
        place.get("/hello")
        client.send(b"bar")
        assert client.answer() == (200, b"foobar")


def test_a_client_that_asks_is_told_to_go_on(place: Place) -> None:
    with place.connect() as client:
        client.send(b"POST /messages HTTP/1.1\r\nHost: rig\r\nContent-Length: 3\r\n")
        client.send(b"Expect: 100-continue\r\n\r\n")
        assert client.head() == 100
        client.send(b"foo")
        assert client.answer() == (200, b"foo")


def test_it_is_not_told_to_go_on_if_nobody_reads(place: Place) -> None:
    with place.connect() as client:
        client.send(b"POST /unread HTTP/1.1\r\nHost: rig\r\nContent-Length: 3\r\n")
        client.send(b"Expect: 100-continue\r\n\r\n")
        assert client.answer() == (413, b"no, thanks")


def test_a_body_that_nobody_reads_waits_with_the_client(place: Place) -> None:
    size = 64 << 20
    with place.connect() as client:
        client.send(b"POST /gated-body?body HTTP/1.1\r\nHost: rig\r\n")
        client.send(b"Content-Length: %d\r\n\r\n" % size)
        client.sock.setblocking(False)
        sent = 0
        data = bytes(1 << 20)
        while sent < size and is_ready(client.sock, 1.0, select.POLLOUT):
            sent += client.sock.send(data[: size - sent])
        assert sent < size
        place.open("body")
        while sent < size:
            assert is_ready(client.sock, LIMIT, select.POLLOUT)
            sent += client.sock.send(data[: size - sent])
        client.sock.settimeout(LIMIT)
        assert client.answer() == (200, str(size).encode())


def test_a_message_that_was_not_waited_for_is_not_lost(place: Place) -> None:
    with place.connect() as client:
        client.send(b"POST /given-up HTTP/1.1\r\nHost: rig\r\nContent-Length: 6\r\n\r\n")
        place.told("waiting")
        client.send(b"foobar")
        assert client.answer() == (200, b"foobar")


# The client's leaving


def test_an_application_learns_that_its_client_left(place: Place) -> None:
    with place.connect() as client:
        client.ask("/until-gone")
        place.told("waiting")
    place.told("http.disconnect", "sent")


def test_a_client_that_ends_its_side_has_left(place: Place) -> None:
    with place.connect() as client:
        client.ask("/until-gone")
        place.told("waiting")
        client.sock.shutdown(socket.SHUT_WR)
        place.told("http.disconnect", "sent")


def test_after_the_answer_there_is_only_the_disconnect(place: Place) -> None:
    with place.connect() as client:
        client.ask("/after-the-answer")
        assert client.answer() == (200, b"hello")
        place.told("http.disconnect", "http.disconnect")
        # And the connection goes on.
        client.ask("/hello")
        assert client.answer() == (200, b"hello")


# What is no request


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",  # a client that begins with TLS
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rig\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rig\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rig\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rig\r\n X-Folded: yes\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: rig\r\nX : y\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: rig\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: rig\r\n\r\n",
        b"GET /?\xff HTTP/1.1\r\nHost: rig\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: rig\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_the_connection_closed(place: Place, data: bytes) -> None:
    with place.connect() as client:
        client.send(data)
        assert client.answer()[0] == 400
        assert client.headers["connection"] == "close"
        assert client.headers["content-type"] == "text/plain; charset=utf-8"
        assert client.is_closed()


def test_a_head_without_an_end_is_refused(place: Place) -> None:
    with place.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: rig\r\nX: " + b"x" * (66 << 10))
        assert client.head() == 431


def test_another_upgrade_is_ignored(place: Place) -> None:
    with place.connect() as client:
        client.ask("/hello", "Upgrade: h2c", "Connection: Upgrade")
        assert client.answer() == (200, b"hello")
