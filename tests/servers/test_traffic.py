"""The bytes that each server counts are those that its clients see on the wire."""

import re
import socket
from collections.abc import Iterator
from typing import Self

import pytest

from tercio.dataplane.scoreboard import Field
from tests.worker.rig import LIMIT, Rig, until

pytestmark = pytest.mark.timeout(60)

_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: rig\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_NO_MASK = b"\0\0\0\0"


class Wire:
    """A connection that counts, and reads no further than it is asked to."""

    def __init__(self, rig: Rig) -> None:
        self.sock = socket.create_connection(rig.address, LIMIT)
        self.sent = self.received = 0
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.sent += len(data)

    def read_to(self, end: bytes) -> bytes:
        while end not in self._unread:
            data = self.sock.recv(65536)
            assert data, f"closed after {self._unread!r}"
            self.received += len(data)
            self._unread += data
        head, _, self._unread = self._unread.partition(end)
        return head + end

    def read_all(self) -> None:
        while data := self.sock.recv(65536):
            self.received += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


@pytest.fixture(params=["tercio", "uvicorn"])
def rig(request: pytest.FixtureRequest, loop: str) -> Iterator[Rig]:
    with Rig(options={"server": request.param, "loop": loop}) as rig:
        yield rig.serving()


def _ask(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: rig", *lines, "", ""]).encode()


def test_requests_and_answers_are_counted_with_their_heads(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_ask("/"))
        wire.read_to(b"\r\n\r\n")
        wire.send(_ask("/body", "Content-Length: 300000", method="POST") + b"x" * 300_000)
        wire.read_to(b"300000")
        # One that waits for a 100, and one in chunks.
        lines = ("Content-Length: 5", "Expect: 100-continue")
        wire.send(_ask("/body", *lines, method="POST"))
        wire.read_to(b"100 Continue\r\n\r\n")
        wire.send(b"hello")
        wire.read_to(b"\r\n\r\n5")
        chunks = b"3\r\nabc\r\n0\r\n\r\n"
        wire.send(_ask("/body", "Transfer-Encoding: chunked", method="POST") + chunks)
        wire.read_to(b"\r\n\r\n3")
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        rig.count(Field.SENT_BYTES, wire.received)


def test_requests_that_come_together_are_counted_once(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_ask("/body", "Content-Length: 1", method="POST").join([b""] + [b"x"] * 200))
        wire.send(_ask("/", "Connection: close"))
        wire.read_all()
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        rig.count(Field.SENT_BYTES, wire.received)


def test_what_is_refused_counts_too(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(b"no HTTP\r\n\r\n")
        wire.read_all()
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        rig.count(Field.SENT_BYTES, wire.received)


def test_an_answer_without_end_counts_while_it_is_sent(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_ask("/stream"))
        for _ in range(5):
            wire.read_to(b"1\r\nx\r\n")
        until(lambda: rig.row[Field.SENT_BYTES] >= wire.received, "nothing is counted")
        assert rig.row[Field.RECEIVED_BYTES] == wire.sent
        assert rig.row[Field.REQUESTS] == 0


def test_a_body_counts_before_it_is_complete(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_ask("/body", "Content-Length: 300000", method="POST") + b"x" * 1000)
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        wire.send(b"x" * 1000)
        rig.count(Field.RECEIVED_BYTES, wire.sent)


def test_an_open_websocket_counts_what_passes(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_UPGRADE)
        wire.read_to(b"\r\n\r\n")
        wire.send(b"\x81\x85" + _NO_MASK + b"hello")
        wire.read_to(b"\x81\x05hello")
        wire.send(b"\x89\x82" + _NO_MASK + b"hi")  # a ping
        wire.read_to(b"\x8a\x02hi")
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        rig.count(Field.SENT_BYTES, wire.received)
        wire.send(b"\x88\x82" + _NO_MASK + b"\x03\xe8")  # goodbye
        wire.read_all()
        rig.count(Field.RECEIVED_BYTES, wire.sent)
        rig.count(Field.SENT_BYTES, wire.received)


def test_messages_right_behind_the_handshake_count_once(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, Wire(rig.serving()) as wire:
        wire.send(_UPGRADE + (b"\x82\xfe\x10\x00" + _NO_MASK + b"x" * 4096) * 3)
        answer = wire.read_to(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 101 ", answer)
        rig.count(Field.RECEIVED_BYTES, wire.sent)


def test_what_passed_last_is_counted_when_the_worker_leaves(rig: Rig) -> None:
    with Wire(rig) as wire:
        wire.send(_ask("/body", "Content-Length: 9", method="POST") + b"x")
        rig.count(Field.IN_FLIGHT, 1)
        wire.send(b"x" * 3)
        rig.drain(0.3)
        rig.exit()
        assert rig.row[Field.RECEIVED_BYTES] == wire.sent
