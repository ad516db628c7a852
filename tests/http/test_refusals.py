"""What the server refuses by itself is counted once: as refused, or as the request that it ends."""

import pytest

from tests.http.harness import Running
from tests.http.upgraded import Told, WebSocketWire, echo, over, request
from tests.http.wire import Wire

REFUSED = {
    400: b"nonsense\r\n\r\n",
    408: b"GET / HTTP/1.1\r\nHost:",
    414: b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * 10_000),
    417: b"GET / HTTP/1.1\r\nHost: h\r\nExpect: cake\r\n\r\n",
    431: b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 100_000),
    501: b"SOURCE / HTTP/1.1\r\nHost: h\r\n\r\n",
}


async def answer(wire: Wire) -> bytes:
    """All that comes until the end."""
    data = b""
    while chunk := await wire.receive():
        data += chunk
    return data


@pytest.mark.parametrize("status", REFUSED)
def test_what_never_became_a_request_is_refused(loop: str, status: int) -> None:
    async def main(running: Running) -> None:
        async with Wire(running.address) as wire:
            await wire.send([REFUSED[status]])
            assert (await answer(wire)).startswith(b"HTTP/1.1 %d " % status)
        assert running.counts.refused == [status]
        assert running.counts.begun == 0
        assert running.counts.statuses == []

    over(loop, echo, main, timeout_head=0.1)


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (400, request().replace(b"Sec-WebSocket-Key", b"X")),
        (426, request().replace(b"Version: 13", b"Version: 12")),
    ],
    ids=["no key", "another version"],
)
def test_a_handshake_that_is_none_is_refused(loop: str, status: int, head: bytes) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([head])
            assert await wire.answer() == status
        assert running.counts.refused == [status]

    over(loop, echo, main)


def test_a_request_that_breaks_off_under_way_ends_with_the_refusal(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with Wire(running.address) as wire:
            await wire.send([b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"])
            await app.called()
            await wire.send([b"nonsense\r\n"])
            assert (await answer(wire)).startswith(b"HTTP/1.1 400 ")
            app.ends()
        assert (running.counts.refused, running.counts.statuses) == ([], [400])

    over(loop, app, main)
