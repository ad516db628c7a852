"""Who has much to say waits for a turn, and who says too much a second for time to pass."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.http.framing import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, close, encode
from tests.http.harness import LIMIT, Running
from tests.http.upgraded import Told, WebSocketWire, echo, over, request

COUNT = 20_000


@asynccontextmanager
async def turns() -> AsyncIterator[list[int]]:
    """Counts the turns of the loop, as the one element."""
    count = [0]

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)
            count[0] += 1

    turning = asyncio.ensure_future(turn())
    try:
        yield count
    finally:
        turning.cancel()


@pytest.mark.parametrize(
    "flood",
    [
        encode(PING, b"x") * COUNT,
        encode(PONG, b"x") * COUNT,
        encode(TEXT, b"", is_last=False) + encode(CONTINUATION, b"", is_last=False) * COUNT,
    ],
    ids=["pings", "pongs", "parts"],
)
def test_what_is_no_message_lets_the_loop_go_too(loop: str, flood: bytes) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            async with turns() as count:
                # A part of a message that was begun is its end; a message stands for itself.
                last = (
                    CONTINUATION if flood.startswith(encode(TEXT, b"", is_last=False)[:1]) else TEXT
                )
                sending = asyncio.ensure_future(wire.send([flood, encode(last, b"the last")]))
                while await wire.frame() != Frame(TEXT, b"the last"):
                    pass
                await sending
            assert count[0] >= COUNT // 64  # 32 in a turn, and 32 where more was read in it
            assert (await wire.close())[0] == 1000

    over(loop, echo, main)


def test_however_many_flood_it_a_turn_of_the_loop_hears_as_much(loop: str) -> None:
    """Else ten of them would be ten times as much, and whoever says one thing waits for it."""

    async def flood(wire: WebSocketWire) -> None:
        await wire.send([encode(TEXT, b"x") * (COUNT // 10)])
        assert await wire.frames(COUNT // 10) == [Frame(TEXT, b"x")] * (COUNT // 10)

    async def main(running: Running) -> None:
        async with AsyncExitStack() as stack:
            wires = [
                await stack.enter_async_context(WebSocketWire(running.address)) for _ in range(11)
            ]
            for wire in wires:
                assert await wire.upgrade() == 101
            async with turns() as count:
                floods = asyncio.gather(*map(flood, wires[1:]))
                for number in range(20):
                    await wires[0].send([encode(TEXT, b"%d" % number)])
                    assert await wires[0].frame() == Frame(TEXT, b"%d" % number)
                await floods
            # 32 of those in a row, and some that are not in it yet.
            assert count[0] >= COUNT // 64
            for wire in wires:
                assert (await wire.close())[0] == 1000

    over(loop, echo, main)


def test_many_at_once_are_all_answered_in_their_order(loop: str) -> None:
    async def one(running: Running, number: int) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            texts = [b"%d %d" % (number, each) for each in range(500)]
            sending = asyncio.ensure_future(wire.send([b"".join(encode(TEXT, t) for t in texts)]))
            assert await wire.frames(500) == [Frame(TEXT, text) for text in texts]
            await sending
            assert (await wire.close())[0] == 1000

    async def main(running: Running) -> None:
        await asyncio.gather(*(one(running, number) for number in range(20)))

    over(loop, echo, main)


def test_what_grows_takes_more_of_a_turn(loop: str) -> None:
    """A hundred parts of a message, with 32 KiB each in a few bytes, come together."""

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate") == 101
            deflater = zlib.compressobj(wbits=-15)
            parts = [
                deflater.compress(bytes(1 << 15)) + deflater.flush(zlib.Z_SYNC_FLUSH)
                for _ in range(100)
            ]
            first = encode(BINARY, parts[0], is_last=False, reserved=4)
            more = [encode(CONTINUATION, part, is_last=False) for part in parts[1:]]
            async with turns() as count:
                await wire.send([b"".join([first, *more, encode(CONTINUATION, b"\0")])])
                assert await wire.frame() is not None
            assert count[0] >= 100 * 5 // 64
            assert (await wire.close())[0] == 1000

    over(loop, echo, main, ws_max_size=4 << 20)


def test_beyond_its_rate_a_client_has_to_wait_and_loses_nothing(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            texts = [b"%d" % number for number in range(150)]
            began = time.monotonic()
            await wire.send([b"".join(encode(TEXT, text) for text in texts)])
            assert await wire.frames(150) == [Frame(TEXT, text) for text in texts]
            # A second's worth at once, and the other fifty in half a second.
            assert time.monotonic() - began >= 0.45
            # Not a wait a message.
            assert 1 <= running.counts.throttled <= 10
            assert (await wire.close())[0] == 1000

    over(loop, echo, main, ws_max_rate=100)


def test_pings_count_as_messages(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            began = time.monotonic()
            await wire.send([encode(PING, b"x") * 150])
            assert await wire.frames(150) == [Frame(PONG, b"x")] * 150
            assert time.monotonic() - began >= 0.45
            assert (await wire.close())[0] == 1000

    over(loop, echo, main, ws_max_rate=100)


def test_within_its_rate_nobody_waits(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            await wire.send([encode(TEXT, b"x") * 100])
            assert await wire.frames(100) == [Frame(TEXT, b"x")] * 100
            assert running.counts.throttled == 0
            assert (await wire.close())[0] == 1000

    # One more than the messages: the close frame, too, is looked at in time.
    over(loop, echo, main, ws_max_rate=101)


def test_a_client_that_left_while_it_had_to_wait_is_noticed(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([b"".join([request(), encode(TEXT, b"x") * 1000])])
            await app.accept()
            assert (await app.hears())["text"] == "x"
        async with asyncio.timeout(LIMIT):
            while running.connections:
                await asyncio.sleep(0.01)
        while (message := await app.hears())["type"] == "websocket.receive":
            pass
        assert message["code"] == 1006
        app.ends()

    # A second a message: nobody would have read the thousandth.
    over(loop, app, main, ws_max_rate=1)


def test_a_close_by_the_application_waits_for_no_rate(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([b"".join([request(), encode(TEXT, b"x") * 1000, close(1000)])])
            await app.accept()
            assert await wire.answer() == 101
            assert (await app.hears())["text"] == "x"
            began = time.monotonic()
            await app.send({"type": "websocket.close", "code": 4000})
            assert (await wire.end())[0] == 4000
            assert time.monotonic() - began < 60
            app.ends()

    over(loop, app, main, ws_max_rate=1)
