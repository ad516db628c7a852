"""Clients that send or read slowly, or not at all, have their time and no more."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.http.answers import answers
from tests.http.harness import LIMIT, Served
from tests.http.pages import Pages
from tests.worker.rig import Client, until

pytestmark = pytest.mark.timeout(120)

HEAD = b"GET /slow HTTP/1.1\r\nHost: h\r\nX-Slow: "
SLOW: dict[str, Any] = {"timeout_head": 0.5, "timeout_keep_alive": LIMIT}
BODY: dict[str, Any] = {"limit_body_grace": 0.5, "limit_body_rate": 1000}


@pytest.fixture
def pages() -> Pages:
    return Pages()


def rest(sock: socket.socket) -> bytes:
    """All until the end of a connection, which is no reset."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def drip(sock: socket.socket, data: bytes = b"x") -> bytes:
    """Send a little again and again until there is an answer; all of it."""
    sock.settimeout(0.05)
    deadline = time.monotonic() + LIMIT
    while True:
        assert time.monotonic() < deadline, "it may drip for ever"
        sock.sendall(data)
        try:
            first = sock.recv(1 << 16)
        except TimeoutError:
            continue
        sock.settimeout(LIMIT)
        return first + rest(sock)


def is_408(received: bytes) -> bool:
    (answer,) = answers(received)
    return answer.status == 408 and answer.closes and answer.is_whole


def pass_the_time(served: Served) -> None:
    """Wait until the server has found a head too slow that began now."""
    with served.connect() as clock:
        clock.sendall(HEAD)
        assert is_408(rest(clock))


@pytest.mark.parametrize("begin", [b"G", HEAD, HEAD + b"x\r\n", HEAD + b"x\r\n\r"])
def test_a_head_that_stops_is_answered_408(loop: str, pages: Pages, begin: bytes) -> None:
    with Served(pages, loop=loop, **SLOW) as served, served.connect() as sock:
        sock.sendall(begin)
        assert is_408(rest(sock))
    assert pages.ended == 0


def test_a_head_that_drips_is_answered_408(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, **SLOW) as served, served.connect() as sock:
        sock.sendall(HEAD)
        assert is_408(drip(sock))


def test_a_second_head_has_no_more_time_than_the_first(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, **SLOW) as served, served.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + HEAD)
        first, second = answers(drip(sock))
        assert (first.status, second.status) == (200, 408)


def test_trailers_that_drip_are_given_up(loop: str, pages: Pages) -> None:
    begin = b"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
    with Served(pages, loop=loop, **SLOW | BODY) as served, served.connect() as sock:
        sock.sendall(begin)
        assert is_408(drip(sock))


def test_a_connection_that_waits_is_no_slow_head(loop: str, pages: Pages) -> None:
    with (
        Served(pages, loop=loop, **SLOW) as served,
        Client(served.address) as silent,
        Client(served.address) as idle,
    ):
        idle.ask("/")
        assert idle.answer()[0] == 200
        pass_the_time(served)
        for client in (silent, idle):
            client.ask("/")
            assert client.answer()[0] == 200


def test_the_time_of_an_application_is_not_the_clients(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, **SLOW | BODY) as served, Client(served.address) as client:
        client.ask("/patient", method="POST", body=b"x" * 1000)
        until(lambda: served.counts.begun == 1)
        pass_the_time(served)
        served.call(pages.let_go.set)
        assert client.answer() == (200, b"1000")


def test_a_silent_connection_is_closed_without_a_word(loop: str, pages: Pages) -> None:
    # It may take as long as a head before it asks for the first time.
    with (
        Served(pages, loop=loop, timeout_keep_alive=0.3, timeout_head=0.5) as served,
        served.connect() as sock,
    ):
        assert rest(sock) == b""


def test_a_connection_that_is_kept_alive_is_closed_without_a_word(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, timeout_keep_alive=0.3) as served, served.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        (answer,) = answers(rest(sock))
        assert answer.status == 200


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_answered_408(loop: str, pages: Pages, framing: bytes) -> None:
    with Served(pages, loop=loop, **SLOW | BODY) as served, served.connect() as sock:
        sock.sendall(b"POST /body HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
        assert is_408(rest(sock))
        until(lambda: pages.ended == 1)
    assert [message["type"] for message in pages.messages] == ["http.disconnect"]


def test_a_body_that_drips_is_answered_408(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, **SLOW | BODY) as served, served.connect() as sock:
        sock.sendall(b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        assert is_408(drip(sock))


def test_a_body_may_rest_within_its_grace(loop: str, pages: Pages) -> None:
    options = SLOW | {"limit_body_grace": LIMIT, "limit_body_rate": 1_000_000}
    with Served(pages, loop=loop, **options) as served, Client(served.address) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n")
        client.send(b"x" * 10)
        pass_the_time(served)
        pass_the_time(served)
        client.send(b"x")
        assert client.answer() == (200, b"11")


def test_a_slow_body_behind_the_beginning_of_an_answer_is_cut(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, **SLOW | BODY) as served, served.connect() as sock:
        sock.sendall(b"POST /begun HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        (answer,) = answers(rest(sock))
        assert (answer.status, answer.body, answer.is_whole) == (200, b"begun", False)


def test_a_client_that_reads_nothing_is_cut(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, timeout_write=0.5) as served, served.connect() as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: served.counts.begun == 1)
        until(lambda: served.counts.connections == 0)
        until(lambda: pages.ended == 1)


def test_a_client_that_stops_reading_in_the_middle_is_cut(loop: str, pages: Pages) -> None:
    with Served(pages, loop=loop, timeout_write=0.5) as served, served.connect() as sock:
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        received = 0
        while received < 70_000_000:
            received += len(sock.recv(1 << 20))
        until(lambda: served.counts.connections == 0)
        until(lambda: served.counts.in_flight == 0)


@pytest.mark.chaos("C38")
def test_a_crowd_of_slow_clients_holds_up_nobody(loop: str, pages: Pages) -> None:
    """Slow heads, slow bodies and slow readers; all are gone in the end, others are answered."""
    begins = (
        HEAD,
        b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        b"",
    )
    options = SLOW | BODY | {"timeout_write": 0.5, "timeout_keep_alive": 2.0}
    with ExitStack() as stack:
        served = stack.enter_context(Served(pages, loop=loop, **options))
        for _ in range(40):
            for begin in begins:
                sock = stack.enter_context(served.connect())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.sendall(begin)
        answered = 0
        while served.counts.lost - answered < 159:
            answered += 1
            with Client(served.address) as client:
                for _ in range(20):
                    client.ask("/")
                    assert client.answer() == (200, b"here")
        until(lambda: served.counts.connections == 0)
        assert served.counts.in_flight == 0


def test_a_client_that_reads_slowly_gets_all(loop: str, pages: Pages) -> None:
    """Whoever reads something now and then takes longer than the time-out, all in all."""
    timeout = 2.0
    for _ in range(10):
        with Served(pages, loop=loop, timeout_write=timeout) as served, served.connect() as sock:
            longest, received = read_slowly(sock, timeout)
        if longest < timeout / 2:  # else the machine was slow, not the client
            assert received > 64 << 20
            return
    pytest.fail("the machine never gave this test its time")


def read_slowly(sock: socket.socket, timeout: float) -> tuple[float, int]:
    """Read an answer in more than the time; the longest pause, and its size."""
    sock.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    last, longest, received = time.monotonic(), 0.0, 0
    for chunk in chunks(sock):
        received += len(chunk)
        if received // (4 << 20) > (received - len(chunk)) // (4 << 20):
            time.sleep(timeout / 12)
        now = time.monotonic()
        last, longest = now, max(longest, now - last)
    return longest, received


def chunks(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            chunk = sock.recv(1 << 18)
        except ConnectionResetError:
            return
        if not chunk:
            return
        yield chunk
