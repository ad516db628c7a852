"""A client and an application that do anything at any time: nothing is left, nothing complains."""

import asyncio
import contextlib
import random

import pytest

from tercio.http.asgi import Message, Receive, Scope, Send
from tests.http.framing import BINARY, CONTINUATION, PING, PONG, TEXT, close, encode
from tests.http.harness import LIMIT, Running
from tests.http.upgraded import WebSocketWire, lifespan, over, request
from tests.http.wire import Reset

BODY = "websocket.http.response.body"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


class Moody:
    """An application that does what chance tells it. ``failed`` counts what was no mistake of it.

    It raises ValueError, and passes on what `send` raises.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.failed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        try:
            for _ in range(self._chance.randint(0, 12)):
                if self._chance.random() < 0.4:
                    async with asyncio.timeout(self._chance.choice([0, 0.01, 0.1])):
                        if (await receive())["type"] == "websocket.disconnect":
                            break
                else:
                    await send(self._message())
            if self._chance.random() < 0.2:
                raise ValueError("by chance")
        except (ValueError, RuntimeError, TimeoutError):
            self.failed += 1
            raise

    def _message(self) -> Message:
        size = self._chance.choice([0, 10, 1000, 300_000])
        messages: list[Message] = [
            {"type": "websocket.accept"},
            {"type": "websocket.accept", "headers": [(b"x", b"y")]},
            {"type": "websocket.send", "text": "x" * size},
            {"type": "websocket.send", "bytes": self._chance.randbytes(size)},
            {"type": "websocket.close", "code": 4000, "reason": "by chance"},
            {"type": "websocket.http.response.start", "status": 400, "headers": []},
            {"type": BODY, "body": b"x" * size, "more_body": self._chance.random() < 0.5},
        ]
        return self._chance.choices(messages, [6, 1, 9, 9, 1, 1, 2])[0]


def _pieces(chance: random.Random) -> list[bytes]:
    size = chance.choice([0, 10, 1000, 300_000])
    every = [
        encode(TEXT, b"x" * size),
        encode(BINARY, chance.randbytes(size)),
        encode(TEXT, b"x" * size, is_last=False),
        encode(CONTINUATION, b"x" * size, is_last=chance.random() < 0.5),
        encode(PING, b"ping") * chance.randint(1, 50),
        encode(PONG),
        encode(TEXT, b"small") * chance.randint(1, 200),
        close(4001, b"by chance"),
        chance.randbytes(10),
    ]
    return chance.choices(every, [9, 9, 2, 2, 4, 1, 4, 1, 0.3], k=chance.randint(0, 12))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_nothing_is_left(loop: str, seed: int) -> None:
    chance = random.Random(seed)
    app = Moody(chance)

    async def main(running: Running) -> None:
        for _ in range(12):
            await asyncio.gather(*(_client(running, chance) for _ in range(3)))
        async with asyncio.timeout(LIMIT):
            while running.counts.connections or len(asyncio.all_tasks()) > 2:
                await asyncio.sleep(0)
        assert running.counts.websockets == 0
        assert running.counts.failed == app.failed
        running.counts.failed = 0
        running.logged.clear()

    over(loop, app, main, timeout_write=0.5, linger=0.2, ws_max_queue=chance.randint(1, 40))


async def _client(running: Running, chance: random.Random) -> None:
    with contextlib.suppress(ConnectionError):
        async with WebSocketWire(running.address) as wire:
            lines = chance.choice([(), (OFFER,)])
            data = b"".join([request("/", *lines), *_pieces(chance)])
            cuts = sorted(chance.choices(range(len(data)), k=chance.randint(0, 5)))
            pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
            reading = asyncio.ensure_future(wire.rest())
            if chance.random() < 0.3:
                reading.cancel()  # reads nothing at all
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.choice([0.0, 0.01, 0.1])):
                        await wire.send(pieces)
                if chance.random() < 0.3:
                    wire.finish()
                    with contextlib.suppress(TimeoutError, asyncio.CancelledError, Reset):
                        await asyncio.wait_for(asyncio.shield(reading), 0.1)
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, Reset):  # it spoke out of turn
                    await reading
