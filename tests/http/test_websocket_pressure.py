"""What a client may cost: everything that waits is bounded, and everybody else is served."""

import asyncio
import random
import socket
import zlib

import pytest

from tercio.http.asgi import Receive, Scope, Send
from tests.http.framing import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, encode
from tests.http.harness import LIMIT, Running, factory
from tests.http.upgraded import (
    Told,
    WebSocketWire,
    bare,
    echo,
    lifespan,
    only_peer,
    over,
    request,
)

KIB = 1024
MIB = 1024 * KIB
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Narrow(WebSocketWire):
    """A client whose kernel keeps little: what is taken of it, the server has."""

    async def __aenter__(self) -> "Narrow":
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.sock.setsockopt(socket.SOL_SOCKET, option, 64 * KIB)
        await super().__aenter__()
        return self

    async def push(self, data: bytes, times: int) -> int:
        """Send the same again and again until nobody takes more; how many bytes were taken."""
        sent = 0
        patience = 0
        left = b""
        while (times or left) and patience < 200:
            if not left:
                times -= 1
                left = data
            try:
                taken = self.sock.send(left)
            except BlockingIOError:
                patience += 1
                await asyncio.sleep(0.001 if patience > 100 else 0)
                continue
            patience = 0
            sent += taken
            left = left[taken:]
        self.left = left, times
        return sent


@pytest.mark.parametrize("size", [16, 10 * KIB, 700 * KIB])
def test_messages_that_nobody_takes_stop_the_reading(loop: str, size: int) -> None:
    """Kernel buffers and a MiB or two, of 40 MiB that the client wants to send."""
    app = Told()
    total = 40 * MIB // size if size > 16 else 200_000

    async def main(running: Running) -> None:
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
        async with Narrow(running.address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            frame = encode(BINARY, bytes(size))
            taken = await wire.push(frame, total)
            assert taken < 3 * MIB
            # All of it arrives once somebody takes it.
            rest, times = wire.left
            whole = asyncio.ensure_future(wire.send([rest, *[frame] * min(times, 20)]))
            for _ in range((taken + len(rest)) // len(frame) + min(times, 20)):
                assert len((await app.hears())["bytes"]) == size
            await whole
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_the_queue_holds_as_many_as_the_option_says(loop: str) -> None:
    """Nothing of the rest is cut into messages before there is room."""
    app = Told()

    async def main() -> None:
        async with bare(app, ws_max_queue=5) as (service, address), WebSocketWire(address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            peer = await only_peer(service)
            frames = [encode(TEXT, b"%d" % number) for number in range(12)]
            # The thirteenth is broken; nobody looks at it before there is room.
            await wire.send([b"".join([*frames, encode(7)])])
            await wire.turns(10)
            assert peer in service.connections
            heard = [(await app.hears())["text"] for _ in range(10)]
            assert heard == [str(number) for number in range(10)]
            heard += [(await app.hears())["text"] for _ in range(2)]
            assert (await app.hears())["code"] == 1002
            assert (await wire.end())[0] == 1002
            app.ends()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_an_application_that_always_finds_a_message_lets_the_loop_go(loop: str) -> None:
    app = Told()
    count = 20_000

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            await wire.send([encode(TEXT, b"x") * count])
            turns = 0

            async def turn() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            turning = asyncio.ensure_future(turn())
            for _ in range(count):
                await app.receive()
            turning.cancel()
            assert turns >= count // 32 // 2
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_a_sender_waits_for_a_client_that_does_not_read(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
        async with Narrow(running.address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            sent = 0

            async def send_all() -> None:
                nonlocal sent
                for number in range(1000):
                    await app.send({"type": "websocket.send", "bytes": b"%04d" % number * 4 * KIB})
                    sent += 1

            sending = asyncio.ensure_future(send_all())
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.02)
            # 64 KiB in the transport, and what kernels hold: 16 MiB were to be sent.
            assert sent * 16 * KIB < 2 * MIB
            for number in range(1000):
                frame = await wire.frame()
                assert frame is not None
                assert frame.data[:4] == b"%04d" % number
            await sending
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_a_slow_reader_gets_everything(loop: str) -> None:
    async def main(running: Running) -> None:
        async with Narrow(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            inflater = zlib.decompressobj(wbits=-15)
            messages = [b"%06d" % number * 3 * KIB for number in range(60)]
            sending = asyncio.ensure_future(wire.send(encode(TEXT, each) for each in messages))
            for message in messages:
                await wire.turns(5)
                frame = await wire.frame()
                assert frame is not None
                got = inflater.decompress(frame.data + b"\x00\x00\xff\xff")
                assert got == message
            await sending
            assert (await wire.close())[0] == 1000

    over(loop, echo, main)


def test_a_flood_of_pings_that_reads_nothing_is_answered_by_little(loop: str) -> None:
    async def main() -> None:
        async with bare(echo) as (service, address), Narrow(address) as wire:
            assert await wire.upgrade() == 101
            peer = await only_peer(service)
            largest = 0
            for number in range(300):
                ping = encode(PING, b"%03d" % number * 40)
                await wire.push(ping * 400, 1)
                if wire.left[0]:
                    await wire.send([wire.left[0]])
                await wire.turns()
                largest = max(largest, peer.transport.get_write_buffer_size())
            await wire.send([encode(PING, b"last")])
            # 15 MB of pongs; a packet of pings may be under way when the transport is full.
            assert largest < MIB
            while (frame := await wire.frame()) is not None and frame.data != b"last":
                assert frame.opcode == PONG
            assert frame == Frame(PONG, b"last")
            assert (await wire.close())[0] == 1000

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def _deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, wbits=-12)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_compression_bomb_is_not_expanded(loop: str, parts: int) -> None:
    async def main(running: Running) -> None:
        bomb = _deflated(bytes(200 * MIB))
        assert len(bomb) < MIB
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            size = len(bomb) // parts + 1
            for number in range(parts):
                await wire.send(
                    [
                        encode(
                            CONTINUATION if number else BINARY,
                            bomb[number * size : (number + 1) * size],
                            reserved=0 if number else 4,
                            is_last=number == parts - 1,
                        )
                    ]
                )
            assert (await wire.end())[0] == 1009

    over(loop, echo, main)


def test_the_largest_message_is_taken_and_one_byte_more_is_not(loop: str) -> None:
    noise = random.Random(1).randbytes(900)

    async def main(running: Running) -> None:
        for content in (bytes(1000), noise + bytes(100)):
            for parts in (1, 2, 10):
                for extra, is_packed in ((0, False), (0, True), (1, False), (1, True)):
                    async with WebSocketWire(running.address) as wire:
                        assert await wire.upgrade("/", DEFLATE) == 101
                        data = content + bytes(extra)
                        data = _deflated(data) if is_packed else data
                        await wire.send([_in_parts(data, parts, 4 if is_packed else 0)])
                        if extra:
                            assert (await wire.end())[0] == 1009
                        else:
                            frame = await wire.frame()
                            assert frame is not None
                            assert frame.opcode == BINARY
                            assert (await wire.close())[0] == 1000

    over(loop, echo, main, ws_max_size=1000)


def _in_parts(data: bytes, count: int, reserved: int) -> bytes:
    size = len(data) // count
    parts = [data[index * size : (index + 1) * size] for index in range(count - 1)]
    parts.append(data[(count - 1) * size :])
    return b"".join(
        encode(
            CONTINUATION if index else BINARY,
            part,
            reserved=0 if index else reserved,
            is_last=index == count - 1,
        )
        for index, part in enumerate(parts)
    )


def test_a_final_block_ends_a_stream_and_not_the_websocket(loop: str) -> None:
    """zlib would drop all that follows. The second one is RFC 7692's own example (7.2.3.4)."""

    def finished(text: bytes) -> bytes:
        deflater = zlib.compressobj(wbits=-12)
        return deflater.compress(text) + deflater.flush()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            example = bytes.fromhex("f348cdc9c9070000")
            for packed in (finished(b"final"), example, finished(b"again"), _deflated(b"usual")):
                await wire.send([encode(TEXT, packed, reserved=4)])
            frames = await wire.frames(4)
            assert [frame.data for frame in frames] == [b"final", b"Hello", b"again", b"usual"]
            await wire.send([encode(TEXT, finished(b"more") + b"behind", reserved=4)])
            assert (await wire.end())[0] == 1002

    over(loop, echo, main)


def test_what_cannot_be_expanded_is_refused(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            await wire.send([encode(TEXT, b"\xff" * 20, reserved=4)])
            assert (await wire.end())[0] == 1002

    over(loop, echo, main)


def test_a_client_that_sends_too_much_learns_why(loop: str) -> None:
    """It is still sending when it is refused: a reset would have destroyed the close frame."""

    async def main(running: Running) -> None:
        for _ in range(20):
            async with WebSocketWire(running.address) as wire:
                assert await wire.upgrade() == 101
                frame = encode(BINARY, bytes(4 * MIB))
                pieces = [frame[at : at + 64 * KIB] for at in range(0, len(frame), 64 * KIB)]
                await wire.send(pieces)
                assert (await wire.end())[0] == 1009

    over(loop, echo, main, linger=LIMIT)  # or a machine may be too slow


def test_empty_fragments_take_no_room(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade() == 101
            await wire.send([encode(TEXT, b"x", is_last=False)])
            await wire.send([encode(CONTINUATION, b"", is_last=False) * 1000] * 100)
            await wire.send([encode(CONTINUATION, b"y")])
            assert await wire.frame() == Frame(TEXT, b"xy")
            assert (await wire.close())[0] == 1000

    over(loop, echo, main)


def test_compression_can_be_switched_off(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            assert "sec-websocket-extensions" not in wire.headers
            await wire.send([encode(TEXT, b"x" * 1000, reserved=4)])
            assert (await wire.end())[0] == 1002

    over(loop, echo, main, ws_per_message_deflate=False)


def test_small_messages_are_not_compressed(loop: str) -> None:
    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            assert await wire.upgrade("/", DEFLATE) == 101
            await wire.send([encode(TEXT, b"x" * 127), encode(TEXT, b"x" * 128)])
            frames = await wire.frames(2)
            assert [frame.reserved for frame in frames] == [0, 4]
            assert (await wire.close())[0] == 1000

    over(loop, echo, main)


def test_clients_that_vanish_leave_nothing(loop: str) -> None:
    """At every moment of a WebSocket's life; `over` looks for tasks, complaints and connections."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["path"] == "/deaf":
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "bytes": bytes(10 * KIB)})
        else:
            await echo(scope, receive, send)

    talk = [
        request(),
        encode(TEXT, b"x" * 200),
        encode(PING),
        encode(BINARY, b"", is_last=False),
        encode(BINARY, b"", length=5),
    ]

    async def main(running: Running) -> None:
        for number in range(300):
            async with WebSocketWire(running.address) as wire:
                whole = b"".join(talk).replace(
                    b"GET / ", b"GET /deaf " if number % 3 else b"GET / "
                )
                cut = number * len(whole) // 299
                await wire.send([whole[:cut]])
                await wire.turns(number % 5)
        async with asyncio.timeout(LIMIT):
            while running.counts.connections or len(asyncio.all_tasks()) > 2:
                await asyncio.sleep(0)
        assert running.counts.websockets == 0

    over(loop, app, main)


def test_a_flood_harms_nobody_else(loop: str) -> None:
    """Everything at once, and a polite client beside it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/stuck":
            await send({"type": "websocket.accept"})
            await gone.wait()
        else:
            await echo(scope, receive, send)

    gone = asyncio.Event()

    floods = (
        ("/", encode(TEXT, b"never reads " * 50) * 50),
        ("/", encode(PING, b"p" * 125) * 400),
        ("/stuck", encode(TEXT, b"m") * 5000),
        ("/", encode(BINARY, bytes(64 * KIB), is_last=False)),
        ("/", encode(BINARY, bytes(4 * MIB))),
    )

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as polite:
            assert await polite.upgrade() == 101

            async def flood(path: str, data: bytes) -> None:
                async with Narrow(running.address) as wire:
                    assert await wire.upgrade(path) == 101
                    try:
                        await wire.push(data, 20)
                    except ConnectionError:
                        pass  # refused, for good reason
                    await gone.wait()

            flooding = [asyncio.ensure_future(flood(*each)) for each in floods * 4]
            for number in range(200):
                await polite.send([encode(TEXT, b"%d" % number)])
                assert await polite.frame() == Frame(TEXT, b"%d" % number)
            gone.set()
            await asyncio.gather(*flooding)
            assert await polite.close() == (1000, "")

    over(loop, app, main)
