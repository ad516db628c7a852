"""A body and its answer may go on at the same time, and neither may wait for the other for ever."""

import threading

import pytest

from tests.http.harness import Served
from tests.http.pages import MIB, Pages
from tests.worker.rig import Client

pytestmark = pytest.mark.timeout(120)

BODY = bytes(range(256)) * (12 * MIB // 256)
"""More than the buffers between the two take, and less than what ends a connection if unread."""

HEAD = b"POST /echo HTTP/1.1\r\nHost: h\r\n"


def pieces(body: bytes, size: int = MIB) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_is_echoed_while_it_comes(loop: str, framing: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:

        def send() -> None:
            if framing == "length":
                client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY))
                for piece in pieces(BODY):
                    client.send(piece)
                return
            client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for piece in pieces(BODY):
                client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            client.send(b"0\r\nX: 1\r\n\r\n")

        sending = threading.Thread(target=send)
        sending.start()
        status, body = client.answer()
        sending.join()
        assert status == 200
        assert body == BODY
        # The connection is as good as before.
        client.ask("/")
        assert client.answer() == (200, b"here")


def test_every_piece_of_a_body_is_answered_before_the_next_is_sent(loop: str) -> None:
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        assert client.head() == 200
        for index in range(1000):
            piece = b"%d" % index
            client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            assert client.chunk() == piece
        client.send(b"0\r\n\r\n")
        assert client.chunk() == b""
        client.ask("/")
        assert client.answer() == (200, b"here")


def test_requests_that_were_sent_together_are_answered_in_order(loop: str) -> None:
    """The answers are larger than what fits in between, and nobody reads until all is sent."""
    posts = [
        HEAD + b"Content-Length: %d\r\n\r\n" % size + BODY[:size] for size in range(0, 3000, 7)
    ]
    with Served(Pages(), loop=loop) as served, Client(served.address) as client:
        sending = threading.Thread(target=lambda: client.send(b"".join(posts)))
        sending.start()
        for size in range(0, 3000, 7):
            assert client.answer() == (200, BODY[:size])
        sending.join()
