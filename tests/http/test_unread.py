"""What an application does not read is read for it, within bounds, and then the connection ends."""

import threading
from typing import Any

import pytest

from tests.http.answers import answers
from tests.http.harness import Served
from tests.http.pages import MIB, Pages
from tests.worker.rig import Client, until

pytestmark = pytest.mark.timeout(120)

REFUSE = b"POST /refuse HTTP/1.1\r\nHost: h\r\n"
RATE: dict[str, Any] = {"limit_body_grace": 0.5, "limit_body_rate": 1000}


def test_an_unread_body_within_bounds_keeps_the_connection(loop: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        for _ in range(5):
            client.send(REFUSE + b"Content-Length: %d\r\n\r\n" % MIB + bytes(MIB))
            assert client.answer()[0] == 413
            client.send(REFUSE + b"Transfer-Encoding: chunked\r\n\r\n")
            client.send(b"100000\r\n" + bytes(MIB) + b"\r\n0\r\nX: 1\r\n\r\n")
            assert client.answer()[0] == 413
        assert served.counts.made == 1


def test_an_unread_body_without_end_ends_the_connection(loop: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        client.send(REFUSE + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            client.send((b"100000\r\n" + bytes(MIB) + b"\r\n") * 300)
        until(lambda: served.counts.connections == 0)


def test_an_unread_body_of_many_bytes_ends_the_connection(loop: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        client.send(REFUSE + b"Content-Length: 1000000000000\r\n\r\n")
        assert client.answer()[0] == 413
        assert client.headers["connection"] == "close"
        with pytest.raises(ConnectionError):
            client.send(bytes(300 * MIB))
        until(lambda: served.counts.connections == 0)


@pytest.mark.parametrize("some", [b"", b"some"])
def test_an_unread_body_that_does_not_come_ends_the_connection(loop: str, some: bytes) -> None:
    options = RATE | {"linger": 0.3}
    with Served(Pages(), loop=loop, **options) as served, served.connect() as sock:
        sock.sendall(REFUSE + b"Content-Length: 100000\r\n\r\n" + some)
        received = b"".join(iter(lambda: sock.recv(1 << 16), b""))
        assert [answer.status for answer in answers(received)] == [413]
        until(lambda: served.counts.connections == 0)


def test_ten_thousand_requests_at_once_are_answered(loop: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        requests = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 10_000
        sending = threading.Thread(target=lambda: client.send(requests))
        sending.start()
        for _ in range(10_000):
            assert client.answer() == (200, b"here")
        sending.join()


def test_ten_thousand_requests_of_a_client_that_reads_nothing_are_not_begun(loop: str) -> None:
    with Served(Pages(), loop=loop, timeout_write=1.0) as served, served.connect() as sock:
        sock.sendall(b"GET /bytes-1000000 HTTP/1.1\r\nHost: h\r\n\r\n" * 10_000)
        until(lambda: served.counts.begun > 0)
        until(lambda: served.counts.connections == 0)
        assert served.counts.begun < 20
