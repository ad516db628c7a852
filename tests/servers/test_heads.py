"""The head of a request has a limit; a body has none, however the bytes come."""

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.servers.uvicorn_http import HEAD_LIMIT
from tests.worker.rig import Client, Rig

pytestmark = pytest.mark.timeout(30)

BEGIN = b"GET / HTTP/1.1\r\nHost: rig\r\nX-Long: "


def is_refused(client: Client, expected: int) -> bool:
    status, text = client.answer()
    assert (b"longer than 65536 bytes" in text) == (expected == 431)
    return status == expected and client.headers["connection"] == "close"


def send_in_pieces(client: Client, data: bytes) -> None:
    """Far more than the socket takes at once, to a peer that stops listening in the middle."""
    try:
        for at in range(0, len(data), 8192):
            client.send(data[at : at + 8192])
    except ConnectionError:
        pass


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["endless", "complete"])
@pytest.mark.parametrize("kind", ["value", "headers", "path"])
def test_a_head_that_is_too_long_is_refused(loop: str, server: str, kind: str, end: bytes) -> None:
    begin = BEGIN if kind != "path" else b"GET /"
    unit = b"x\r\nX-More: " if kind == "headers" else b"x"
    if kind == "path" and end:
        end = b" HTTP/1.1" + end
    data = begin + unit * (HEAD_LIMIT // len(unit) + 1) + end
    with Rig(options={"loop": loop, "server": server, "log_level": "critical"}) as rig:
        with rig.serving().connect() as client:
            client.send(data[:40_000])
            client.send(data[40_000:])
            # uvicorn's parser has one limit for all of it.
            assert is_refused(client, 414 if (kind, server) == ("path", "tercio") else 431)
        rig.count(Field.CONNECTIONS, 0)
        assert rig.get()[0] == 200


def test_a_head_without_end_takes_no_memory(loop: str, server: str) -> None:
    with Rig(options={"loop": loop, "server": server}) as rig:
        with rig.serving().connect() as client:
            send_in_pieces(client, BEGIN + b"x" * 30_000_000)
        rig.count(Field.CONNECTIONS, 0)
        with open(f"/proc/{rig.process.pid}/status") as file:
            peak = next(line for line in file if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 100_000
        assert rig.get()[0] == 200


def test_a_head_at_the_limit_is_read(loop: str, server: str) -> None:
    head = BEGIN + b"x" * (HEAD_LIMIT - len(BEGIN) - 4) + b"\r\n\r\n"
    with Rig(options={"loop": loop, "server": server}) as rig, rig.serving().connect() as client:
        for data in (head, head + head):
            client.send(data)
            for _ in range(len(data) // len(head)):
                assert client.answer()[0] == 200


def test_large_bodies_before_a_head_are_not_counted(loop: str, server: str) -> None:
    post = b"POST /body HTTP/1.1\r\nHost: rig\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    with Rig(options={"loop": loop, "server": server}) as rig, rig.serving().connect() as client:
        client.send(post + post + post + b"GET /who HTTP/1.1\r\nHo")
        for _ in range(3):
            assert client.answer() == (200, b"200000")
        client.send(b"st: rig\r\n\r\n")
        assert client.answer()[0] == 200


@pytest.mark.parametrize("bad", [BEGIN + b"x" * 200_000, b"no request\r\n\r\n"], ids=["431", "400"])
def test_a_refusal_does_not_cut_into_an_answer(loop: str, server: str, bad: bytes) -> None:
    with Rig(options={"loop": loop, "server": server, "log_level": "critical"}) as rig:
        with rig.serving().connect() as client:
            client.ask("/slow?seconds=0.3")
            rig.count(Field.IN_FLIGHT, 1)
            client.send(bad)
            assert client.answer()[0] == 200
            if server == "tercio":
                assert client.answer()[0] == (400 if bad.startswith(b"no") else 431)
            try:
                assert client.is_closed()
            except ConnectionResetError:
                pass  # the rest of what was refused was not read
        rig.count(Field.CONNECTIONS, 0)
