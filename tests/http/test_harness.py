"""The tests' own tools: pieces arrive as they were cut, and a server leaves nothing behind."""

import asyncio

import pytest

from tests.http.answers import Unreadable, answers
from tests.http.harness import factory
from tests.http.wire import Wire

pytestmark = pytest.mark.timeout(30)

TEXT = bytes(range(256))


def test_every_piece_arrives_alone(loop: str) -> None:
    arrived: list[bytes] = []

    class Taking(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            arrived.append(data)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Taking, "127.0.0.1", 0)
        async with server, Wire(server.sockets[0].getsockname()) as wire:
            await wire.send(TEXT[at : at + 1] for at in range(256))

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(run())
    assert arrived == [bytes([each]) for each in TEXT]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\n\nx",
    ],
)
def test_wrong_answers_are_noticed(data: bytes) -> None:
    with pytest.raises(Unreadable):
        answers(data)


def test_answers_are_read_one_after_the_other() -> None:
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nrest"
    )
    found = answers(data, ["POST", "HEAD", "GET"])
    assert [each.status for each in found] == [100, 200, 200, 200]
    assert [each.body for each in found] == [b"", b"xyz", b"", b"rest"]
