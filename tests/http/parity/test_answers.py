"""How an answer reaches the client: the same from both servers."""

import re
from email.utils import parsedate_to_datetime

import pytest

from tests.http.parity.place import Place, Places
from tests.worker.rig import is_ready


def raw(place: Place, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """All bytes of an answer, without the headers of the server's own."""
    with place.connect() as client:
        head = "\r\n".join([f"{method} {path} HTTP/{version}", "Host: rig", *lines, "", ""])
        client.send(head.encode())
        data = b"".join(iter(lambda: client.sock.recv(65536), b""))
        return re.sub(rb"(date|server): [^\r]*\r\n", b"", data)


# Framing


def test_without_a_length_an_answer_is_chunked(place: Place) -> None:
    head, _, body = raw(place, "/chunks", "Connection: close").partition(b"\r\n\r\n")
    assert sorted(head.split(b"\r\n")) == [
        b"HTTP/1.1 200 OK",
        b"connection: close",
        b"content-type: text/plain",
        b"transfer-encoding: chunked",
    ]
    assert body == b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"


def test_an_application_may_say_itself_that_it_is_chunked(place: Place) -> None:
    data = raw(place, "/own-chunks", "Connection: close")
    assert data.count(b"transfer-encoding: chunked\r\n") == 1
    assert data.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_a_length_is_kept(place: Place) -> None:
    assert raw(place, "/hello", "Connection: close") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    )


@pytest.mark.parametrize("path", ["/hello", "/chunks"])
def test_an_answer_to_head_has_no_body(place: Place, path: str) -> None:
    with place.connect() as client:
        client.ask(path, method="HEAD")
        assert client.head() == 200
        assert ("content-length" in client.headers) == (path == "/hello")
        assert "transfer-encoding" not in client.headers
        client.ask("/hello")
        assert client.answer() == (200, b"hello")


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(place: Place, status: int) -> None:
    with place.connect() as client:
        client.ask(f"/with-status?{status}")
        assert client.head() == status
        assert client.headers.keys().isdisjoint({"transfer-encoding", "content-length"})
        client.ask("/hello")
        assert client.answer() == (200, b"hello")


def test_an_answer_without_a_byte_is_whole(place: Place) -> None:
    with place.connect() as client:
        client.ask("/with-status?200")
        assert client.answer() == (200, b"")


def test_a_status_without_a_name_has_none(place: Place) -> None:
    assert raw(place, "/with-status?299", "Connection: close").startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize("lines", [(), ("Connection: keep-alive",)])
def test_http_1_0_ends_with_the_connection(place: Place, lines: tuple[str, ...]) -> None:
    assert raw(place, "/hello", *lines, version="1.0") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    )


def test_a_large_answer_waits_for_its_reader(place: Place) -> None:
    with place.connect() as client:
        client.ask("/big")
        place.told("began")
        # What was told first came first: with all of it sent there would be another word.
        place.get("/hello")
        place.told()
        assert client.head() == 200
        size = sum(len(chunk) for chunk in iter(client.chunk, b""))
        assert size == 64 << 20
        place.told("sent")


def test_bodies_headers_and_statuses_may_have_several_types(place: Place) -> None:
    with place.connect() as client:
        client.ask("/buffers")
        assert client.answer() == (201, b"one two")
        assert (client.headers["x-list"], client.headers["x-generator"]) == ("yes", "yes")


# Headers


def test_headers_of_an_application_come_in_its_order_and_lower_case(place: Place) -> None:
    assert raw(place, "/headers", "Connection: close") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-mixed: One\r\nx-twice: a\r\nx-twice: b\r\n"
        b"connection: close\r\n\r\n"
    )


def test_every_answer_is_dated(place: Place) -> None:
    with place.connect() as client:
        client.ask("/hello")
        client.answer()
        date = client.headers["date"]
        assert date.endswith(" GMT")
        parsedate_to_datetime(date)


def test_the_headers_of_the_server_can_be_left_out(places: Places, server: str) -> None:
    with places.of(server, server_header=False, date_header=False).connect() as client:
        client.ask("/hello")
        client.answer()
        assert client.headers == {"content-length": "5"}


def test_headers_can_be_added_to_every_answer(places: Places, server: str) -> None:
    place = places.of(server, header=["X-Own: a, b", "Server: mine"], server_header=False)
    with place.connect() as client:
        client.ask("/hello")
        client.answer()
        assert client.headers["x-own"] == "a, b"
        assert client.headers["server"] == "mine"


# Faults of applications


@pytest.mark.parametrize("path", ["/fails-before", "/returns-before", "/body-first"])
def test_what_fails_before_its_answer_is_answered_500(place: Place, path: str) -> None:
    with place.connect() as client:
        client.ask(path)
        assert client.answer() == (500, b"Internal Server Error")
        assert client.headers["content-type"] == "text/plain; charset=utf-8"
        assert client.headers["connection"] == "close"
        assert client.is_closed()
    place.told(*(["RuntimeError"] if path == "/body-first" else []))


@pytest.mark.parametrize("path", ["/fails-after", "/returns-amid"])
def test_what_fails_in_its_answer_is_cut(place: Place, path: str) -> None:
    assert raw(place, path).endswith(b"\r\n\r\n4\r\nhalf\r\n")


@pytest.mark.parametrize("path", ["/longer", "/shorter"])
def test_what_breaks_its_own_promise_is_told_so_and_no_client_takes_it_for_whole(
    place: Place, path: str
) -> None:
    head, _, body = raw(place, path).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 500 "):
        promised = re.search(rb"content-length: (\d)", head)
        assert promised is not None
        assert len(body) < int(promised[1])
    place.told("RuntimeError")


def test_a_second_answer_is_refused(place: Place) -> None:
    with place.connect() as client:
        client.ask("/twice")
        assert client.answer() == (200, b"hello")
    place.told("RuntimeError")


def test_a_second_start_is_refused(place: Place) -> None:
    with place.connect() as client:
        client.ask("/start-twice")
        assert client.answer() == (200, b"hello")
    place.told("RuntimeError")


def test_a_message_of_no_known_type_is_refused(place: Place) -> None:
    with place.connect() as client:
        client.ask("/nonsense")
        assert client.answer() == (200, b"hello")
    place.told("RuntimeError")


def test_what_returns_something_ends_its_connection(place: Place) -> None:
    assert raw(place, "/returns-something").endswith(b"\r\n\r\nhello")


# Connections


def test_a_connection_is_kept(place: Place) -> None:
    with place.connect() as client:
        for _ in range(3):
            client.ask("/hello")
            assert client.answer() == (200, b"hello")
            assert "connection" not in client.headers


def test_a_client_may_ask_for_the_last_answer(place: Place) -> None:
    with place.connect() as client:
        client.ask("/hello", "Connection: close")
        assert client.answer() == (200, b"hello")
        assert client.headers["connection"] == "close"
        assert client.is_closed()


def test_an_application_may_give_the_last_answer(place: Place) -> None:
    with place.connect() as client:
        client.ask("/closing")
        assert client.answer() == (200, b"bye")
        assert client.headers["connection"] == "close"
        assert client.is_closed()


def test_requests_in_a_row_are_answered_in_order(place: Place) -> None:
    with place.connect() as client:
        paths = ["/slow?row", "/hello", "/chunks", "/fails-before"]
        client.send(
            b"".join(f"GET {path} HTTP/1.1\r\nHost: rig\r\n\r\n".encode() for path in paths)
        )
        place.told("waiting")
        place.open("row")
        assert client.answer() == (200, b"slow")
        assert client.answer() == (200, b"hello")
        assert client.answer() == (200, b"onethree")
        assert client.answer() == (500, b"Internal Server Error")
        assert client.is_closed()


def test_bodies_in_a_row_stay_apart(place: Place) -> None:
    ask = "POST /messages HTTP/1.1\r\nHost: rig\r\n"
    with place.connect() as client:
        client.send(
            f"{ask}Content-Length: 3\r\n\r\none"
            f"{ask}Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
            f"{ask}Content-Length: 0\r\n\r\n".encode()
        )
        assert [client.answer()[1] for _ in range(3)] == [b"one", b"two", b""]


def test_an_application_may_work_on_after_its_answer(place: Place) -> None:
    with place.connect() as client:
        client.ask("/works-on?work")
        assert client.answer() == (200, b"hello")
        client.ask("/hello")
        assert client.answer() == (200, b"hello")
    place.open("work")
    place.told("worked on")


def test_a_kept_connection_is_closed_when_it_was_idle(places: Places, server: str) -> None:
    with places.of(server, timeout_keep_alive=0.25).connect() as client:
        client.ask("/hello")
        assert client.answer() == (200, b"hello")
        assert client.is_closed()


def test_beyond_the_limit_of_connections_one_waits_until_another_leaves(
    places: Places, server: str
) -> None:
    place = places.of(server, limit_connections=2)
    with place.connect() as first, place.connect() as second, place.connect() as third:
        third.ask("/hello")
        for client in (first, second):
            client.ask("/hello")
            assert client.answer() == (200, b"hello")
        assert not is_ready(third.sock, 0.5)
        first.close()
        assert third.answer() == (200, b"hello")


def test_beyond_the_limit_of_concurrency_503_is_answered(places: Places, server: str) -> None:
    place = places.of(server, limit_concurrency=2)
    with place.connect() as first:
        first.ask("/slow?crowd")
        place.rig.count_accepted(1)
        with place.connect() as second:
            second.ask("/hello")
            assert second.answer() == (503, b"Service Unavailable")
            assert second.headers["content-type"] == "text/plain; charset=utf-8"
            assert second.headers["connection"] == "close"
            assert second.is_closed()
