"""WebSockets: the same from both servers."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from tests.http.parity.place import Place, Places
from tests.worker.rig import LIMIT, Client

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@contextmanager
def opened(place: Place, path: str, **options: Any) -> Iterator[ClientConnection]:
    host, port = place.rig.address
    more = {
        "open_timeout": LIMIT,
        "close_timeout": LIMIT,
        "max_size": None,
        "proxy": None,
    } | options
    with connect(f"ws://{host}:{port}{path}", **more) as client:
        yield client


def refused(place: Place, path: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught, opened(place, path):
        pass
    return caught.value


class Raw(Client):
    """A client that sends whatever frames a test wants."""

    def upgrade(self, path: str, *lines: str) -> None:
        self.ask(path, *HANDSHAKE, *lines)
        assert self.head() == 101

    def frame(self, opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> None:
        self.send(Frame(opcode, data, fin).serialize(mask=True))

    def next(self) -> tuple[Opcode, bytes]:
        """The next frame."""
        first, second = self._file.read(2)
        size = second & 127
        if size > 125:
            more, layout = (2, "!H") if size == 126 else (8, "!Q")
            (size,) = struct.unpack(layout, self._file.read(more))
        return Opcode(first & 15), self._file.read(size)

    def close_code(self) -> int:
        """The code of the next close frame; what comes before it is thrown away."""
        while (frame := self.next())[0] is not Opcode.CLOSE:
            pass
        return int.from_bytes(frame[1][:2], "big")


def raw(place: Place) -> Raw:
    return Raw(place.rig.address)


# The handshake


def test_the_scope_says_what_was_asked(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-seen/a%20b?x=%20", "Sec-WebSocket-Protocol: a, b")
        scope = json.loads(client.next()[1])
        # What only one of the two knows is in the table of differences.
        extensions = scope.pop("extensions")
        assert [name for name in extensions if not name.startswith("tercio.")] == [
            "websocket.http.response"
        ]
        assert scope["headers"].pop(0) == ["host", "rig"]
        names = [name for name, _ in scope.pop("headers")]
        assert names[:3] == ["upgrade", "connection", "sec-websocket-version"]
        assert scope == {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/ws-seen/a b",
            "raw_path": "/ws-seen/a%20b",
            "query_string": "x=%20",
            "root_path": "",
            "subprotocols": ["a", "b"],
            "client": list(client.sock.getsockname()),
            "server": list(place.rig.address),
            "state": scope["state"],
        }
        assert scope["state"]["plain"] == 1


def test_a_subprotocol_and_headers_may_come_with_the_acceptance(place: Place) -> None:
    with opened(place, "/ws-choose", subprotocols=["first", "last"]) as client:
        assert client.subprotocol == "last"
        assert client.response is not None
        assert client.response.headers["x-own"] == "yes"
        assert "date" in client.response.headers
        assert "server" in client.response.headers


@pytest.mark.parametrize(
    ("leave_out", "put_in"),
    [
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Key: short"),
        ("Sec-WebSocket-Version", ""),
    ],
)
def test_a_bad_handshake_is_refused(place: Place, leave_out: str, put_in: str) -> None:
    lines = [line for line in HANDSHAKE if not line.startswith(leave_out)]
    with place.connect() as client:
        client.ask("/ws-echo", *lines, *([put_in] if put_in else []))
        assert client.head() == 400


def test_an_application_may_refuse(place: Place) -> None:
    answer = refused(place, "/ws-refuse").response
    assert (answer.status_code, answer.body) == (403, b"")
    place.told("websocket.disconnect")


def test_an_application_may_answer_as_to_a_request(place: Place) -> None:
    answer = refused(place, "/ws-deny").response
    assert (answer.status_code, answer.body) == (401, b"not you")
    assert answer.headers["x-why"] == "because"
    assert answer.headers["content-type"] == "text/plain"
    place.told("websocket.disconnect")


@pytest.mark.parametrize("path", ["/ws-fails-before", "/ws-returns-before"])
def test_what_fails_before_it_accepts_is_answered_500(place: Place, path: str) -> None:
    answer = refused(place, path).response
    assert (answer.status_code, answer.body) == (500, b"Internal Server Error")


def test_nothing_can_be_sent_before_it_is_accepted(place: Place) -> None:
    assert refused(place, "/ws-send-first").response.status_code == 403
    place.told("RuntimeError")


def test_a_root_path_stands_before_the_path(places: Places, server: str) -> None:
    with opened(places.of(server, root_path="/api"), "/ws-seen/x") as client:
        scope = json.loads(client.recv(LIMIT))
        assert (scope["root_path"], scope["path"]) == ("/api", "/api/ws-seen/x")


def test_a_trusted_proxy_is_believed(place: Place) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4", "X-Forwarded-Proto": "https"}
    with opened(place, "/ws-seen", additional_headers=headers) as client:
        scope = json.loads(client.recv(LIMIT))
        assert (scope["client"], scope["scheme"]) == (["1.2.3.4", 0], "wss")


# Messages


@pytest.mark.parametrize("message", ["", "grüße", b"", b"\x00\xff", "x" * 70_000, b"y" * 70_000])
def test_messages_go_both_ways(place: Place, message: str | bytes) -> None:
    with opened(place, "/ws-echo") as client:
        for _ in range(3):
            client.send(message)
            assert client.recv(LIMIT) == message


def test_messages_keep_their_order(place: Place) -> None:
    with opened(place, "/ws-echo") as client:
        for number in range(200):
            client.send(str(number))
        assert [client.recv(LIMIT) for _ in range(200)] == [str(number) for number in range(200)]


def test_a_message_that_was_not_waited_for_is_not_lost(place: Place) -> None:
    with opened(place, "/ws-given-up") as client:
        assert client.recv(LIMIT) == "gave up"
        client.send("hello")
        assert client.recv(LIMIT) == "hello"


def test_a_message_in_fragments_is_one_message(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-echo")
        client.frame(Opcode.TEXT, "grü".encode()[:3], fin=False)
        client.frame(Opcode.PING, b"between")
        client.frame(Opcode.CONT, "grü".encode()[3:], fin=False)
        client.frame(Opcode.CONT, b"")
        assert client.next() == (Opcode.PONG, b"between")
        assert client.next() == (Opcode.TEXT, "grü".encode())


def test_messages_are_compressed_where_the_client_can(place: Place) -> None:
    with opened(place, "/ws-echo") as client:
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["sec-websocket-extensions"]
        client.send("x" * 50_000)
        assert client.recv(LIMIT) == "x" * 50_000


def test_compression_can_be_switched_off(places: Places, server: str) -> None:
    with opened(places.of(server, ws_per_message_deflate=False), "/ws-echo") as client:
        assert client.response is not None
        assert "sec-websocket-extensions" not in client.response.headers
        client.send("hello")
        assert client.recv(LIMIT) == "hello"


def test_a_client_that_does_not_read_is_waited_for(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-big")
        place.told("began")
        place.get("/hello")
        place.told()
        for _ in range(1024):
            assert len(client.next()[1]) == 65536
        place.told("sent")


def test_messages_that_nobody_reads_wait_with_the_client(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-gated?messages")
        message = Frame(Opcode.BINARY, bytes(65000)).serialize(mask=True)
        client.sock.settimeout(1.0)
        sent = 0
        left = b""
        while sent < 1000:
            left = left or message
            try:
                left = left[client.sock.send(left) :]
            except TimeoutError:
                break
            sent += not left
        assert sent < 1000
        place.open("messages")
        client.sock.settimeout(LIMIT)
        client.send(left)
        client.frame(Opcode.BINARY)
        total = 65000 * (sent + bool(left))
        assert client.next() == (Opcode.TEXT, str(total).encode())


# Pings


def test_a_ping_is_answered(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-echo")
        client.frame(Opcode.PING, b"are you there?")
        assert client.next() == (Opcode.PONG, b"are you there?")


def test_a_client_is_pinged_and_lost_if_it_does_not_answer(places: Places, server: str) -> None:
    with raw(places.of(server, ws_ping_interval=0.25, ws_ping_timeout=0.25)) as client:
        client.upgrade("/ws-echo")
        opcode, data = client.next()
        assert opcode is Opcode.PING
        client.frame(Opcode.PONG, data)
        assert client.next()[0] is Opcode.PING
        assert client.close_code() == 1011


# The end


def test_an_application_closes_with_a_code_and_a_reason(place: Place) -> None:
    with opened(place, "/ws-close") as client:
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(LIMIT)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4000, "enough")
    # What is said after the close is refused.
    place.told("RuntimeError", [4000, "enough"])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\x0f\xa1so long", [4001, "so long"]),
        (b"\x03\xe8", [1000, ""]),
        (b"", [1005, ""]),
    ],
)
def test_an_application_learns_why_its_client_closed(
    place: Place, data: bytes, told: object
) -> None:
    with raw(place) as client:
        client.upgrade("/ws-end")
        client.frame(Opcode.CLOSE, data)
        assert client.next() == (Opcode.CLOSE, data)
        assert client.is_closed()
    place.told(told)


def test_sending_to_a_client_that_left_is_an_os_error(place: Place) -> None:
    with raw(place) as client:
        client.upgrade("/ws-until-gone")
        client.frame(Opcode.TEXT, b"begin")
        client.next()
    place.told("OSError")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x80\0\0\0\0\x83\x80\0\0\0\0", 1002),  # an opcode that does not exist
        (b"\x81\x01x", 1002),  # not masked
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
        (b"\xc1\x80\0\0\0\0", 1002),  # a bit that nobody has agreed on
        (b"\x81\x82\0\0\0\0\xc3\x28", 1007),  # no UTF-8
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a code
    ],
)
def test_a_violation_is_answered_with_its_code(place: Place, frame: bytes, code: int) -> None:
    with raw(place) as client:
        client.upgrade("/ws-echo")
        client.send(frame)
        assert client.close_code() == code


def test_too_large_a_message_is_refused(places: Places, server: str) -> None:
    place = places.of(server, ws_max_size=1000)
    with raw(place) as client:
        client.upgrade("/ws-echo")
        client.frame(Opcode.TEXT, b"x" * 1000)
        assert client.next() == (Opcode.TEXT, b"x" * 1000)
        client.frame(Opcode.TEXT, b"x" * 1001)
        assert client.close_code() == 1009
    with opened(place, "/ws-echo") as compressed:
        compressed.send("x" * 1001)
        with pytest.raises(ConnectionClosed) as caught:
            compressed.recv(LIMIT)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_a_fragmented_message_is_not_larger(places: Places, server: str) -> None:
    with raw(places.of(server, ws_max_size=1000)) as client:
        client.upgrade("/ws-echo")
        client.frame(Opcode.TEXT, b"x" * 600, fin=False)
        client.frame(Opcode.CONT, b"x" * 600)
        assert client.close_code() == 1009


def test_over_a_unix_socket_there_is_no_client(
    places: Places, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("u") / "s")
    place = places.of(server, unix=path)
    with Raw(path) as client:
        assert client.sock.family == socket.AF_UNIX
        client.upgrade("/ws-seen")
        scope = json.loads(client.next()[1])
        assert (scope["client"], scope["server"]) == (None, [path, None])
    place.told()
