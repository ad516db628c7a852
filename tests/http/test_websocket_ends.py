"""How a WebSocket ends, and what its client and its application are told."""

import asyncio
import socket
import struct

import pytest

from tercio.http.errors import ClientDisconnected
from tercio.http.websocket import CLOSE_TIMEOUT
from tests.http.framing import BINARY, CLOSE, PING, PONG, TEXT, Frame, close, encode
from tests.http.harness import LIMIT, Running, factory
from tests.http.upgraded import Told, WebSocketWire, bare, echo, only_peer, over, request, settled
from tests.http.wire import Wire

SEND = "websocket.send"


def _disconnect(code: int, reason: str = "") -> dict[str, object]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def _open(app: Told, wire: WebSocketWire) -> None:
    await wire.send([request()])
    await app.accept()
    assert await wire.answer() == 101


@pytest.mark.parametrize(
    ("code", "reason", "heard"),
    [(1000, "bye", 1000), (4001, "schön", 4001), (3000, "", 3000), (None, "", 1005)],
)
def test_the_application_hears_why_the_client_left(
    loop: str, code: int | None, reason: str, heard: int
) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            assert await wire.close(code, reason.encode()) == (heard, reason)
            assert await app.hears() == _disconnect(heard, reason)
            assert await app.hears() == _disconnect(heard, reason)
            with pytest.raises(ClientDisconnected):
                await app.send({"type": SEND, "text": "late"})
            app.ends(ClientDisconnected())  # no failure

    over(loop, app, main)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_says_nothing_left_with_1006(loop: str, how: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await wire.send([encode(TEXT, b"the last"), encode(TEXT, b"cut", length=100)])
            _leave(wire, how)
        assert (await app.hears())["text"] == "the last"
        assert await app.hears() == _disconnect(1006)
        with pytest.raises(ClientDisconnected):
            await app.send({"type": SEND, "text": "late"})
        with pytest.raises(ClientDisconnected):
            await app.send({"type": "websocket.close"})
        app.ends()

    over(loop, app, main)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_may_leave_before_it_is_accepted(loop: str, how: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            _leave(wire, how)
        await app.hears()
        assert await app.hears() == _disconnect(1006)
        with pytest.raises(ClientDisconnected):
            await app.send({"type": "websocket.accept"})
        app.ends()

    over(loop, app, main)


def _leave(wire: Wire, how: str) -> None:
    if how == "reset":
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.sock.close()


def test_the_application_closes_with_code_and_reason(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await app.send({"type": "websocket.close", "code": 4242, "reason": "genug für heute"})
            assert await wire.frame() == Frame(
                CLOSE, (4242).to_bytes(2) + "genug für heute".encode()
            )
            # What the client said before it knew is void.
            await wire.send([encode(TEXT, b"but"), encode(PING, b"hey"), close(4242)])
            assert await wire.frame() is None
            assert await app.hears() == _disconnect(4242, "genug für heute")
            app.ends()

    over(loop, app, main)


def test_nothing_can_be_said_after_a_close(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await app.send({"type": "websocket.close"})
            for kind in (SEND, "websocket.close", "websocket.accept"):
                with pytest.raises(RuntimeError, match="after sending"):
                    await app.send({"type": kind, "text": "x"})
            assert await wire.close() == (1000, "")
            app.ends()

    over(loop, app, main)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.close", "code": 1006},
        {"type": "websocket.close", "code": 999},
        {"type": "websocket.close", "code": 5000},
        {"type": "websocket.close", "code": 1000, "reason": "ä" * 62},
        {"type": "websocket.accept"},
        {"type": "websocket.http.response.start", "status": 200},
        {"type": "http.response.body"},
    ],
)
def test_what_cannot_be_sent_raises_and_the_websocket_goes_on(
    loop: str, message: dict[str, object]
) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            with pytest.raises(RuntimeError):
                await app.send(message)
            await app.send({"type": SEND, "text": "still here"})
            assert await wire.frame() == Frame(TEXT, b"still here")
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_bytes_come_before_text_and_nothing_is_nothing(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await app.send({"type": SEND, "bytes": b"", "text": "no"})
            await app.send({"type": SEND, "bytes": None, "text": ""})
            await app.send({"type": SEND})
            await app.send({"type": SEND, "bytes": bytearray(b"array")})
            await app.send({"type": SEND, "bytes": memoryview(b"view")})
            expected = [(BINARY, b""), (TEXT, b""), (BINARY, b"array"), (BINARY, b"view")]
            assert [frame[:2] for frame in await wire.frames(4)] == expected
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (ValueError("as asked"), 1011)])
def test_an_application_that_is_through_ends_it(
    loop: str, error: Exception | None, code: int
) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            app.ends(error)
            assert await wire.frame() == Frame(CLOSE, code.to_bytes(2))
            assert await wire.close(code) == (None, "")

    over(loop, app, main, failed=int(error is not None))


def test_a_cancelled_wait_loses_no_message(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            waiting = asyncio.ensure_future(app.hears())
            await asyncio.sleep(0)
            await wire.send([encode(TEXT, b"one")])
            waiting.cancel()  # when the message is there, or before
            await asyncio.wait([waiting])
            if waiting.cancelled():
                assert (await app.hears())["text"] == "one"
            else:
                assert waiting.result()["text"] == "one"
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


def test_a_close_is_answered_whatever_waits_before_it(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await wire.send([encode(TEXT, b"unread") * 20])
            await app.send({"type": "websocket.close"})
            assert await wire.close() == (1000, "")
            assert (await app.hears())["text"] == "unread"
            app.ends()

    over(loop, app, main, ws_max_queue=3)


def test_a_client_that_goes_on_after_its_close_is_not_reset(loop: str) -> None:
    async def main(running: Running) -> None:
        for _ in range(20):
            async with WebSocketWire(running.address) as wire:
                assert await wire.upgrade() == 101
                reading = asyncio.ensure_future(wire.end())
                await wire.send([close(4002) + b"chatter" * 100_000])
                assert await reading == (4002, "")

    over(loop, echo, main, linger=LIMIT)


def test_an_application_that_goes_on_alone_is_kept(loop: str) -> None:
    app = Told()

    async def main() -> None:
        async with bare(app) as (service, address):
            async with WebSocketWire(address) as wire:
                await wire.send([request()])
                await app.accept()
                assert await wire.answer() == 101
            assert (await app.hears())["code"] == 1006
            async with asyncio.timeout(LIMIT):
                while service.connections:
                    await asyncio.sleep(0)
            assert len(service.lost) == 1
            app.ends()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_several_tasks_may_wait_for_messages(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            first, second, third = (asyncio.ensure_future(app.hears()) for _ in range(3))
            await asyncio.sleep(0)
            first.cancel()
            await wire.send([encode(TEXT, b"one") + encode(TEXT, b"two")])
            heard = {(await each)["text"] for each in (second, third)}
            assert heard == {"one", "two"}
            app.ends()
            assert (await wire.close())[0] == 1000

    over(loop, app, main)


# Time. Nobody's clock is waited for: a sweep is told what time it is.


def test_a_client_that_does_not_answer_a_close_is_left(loop: str) -> None:
    app = Told()

    async def main() -> None:
        async with bare(app) as (service, address), WebSocketWire(address) as wire:
            await wire.send([request()])
            peer = await only_peer(service)
            await app.accept()
            assert await wire.answer() == 101
            await app.send({"type": "websocket.close"})
            peer.sweep(service.now + CLOSE_TIMEOUT - 0.1)
            await wire.turns(10)
            assert not peer.transport.is_closing()
            peer.sweep(service.now + CLOSE_TIMEOUT)
            assert await wire.end() == (1000, "")
            app.ends()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_client_that_answers_pings_stays(loop: str) -> None:
    async def main() -> None:
        options = {"ws_ping_interval": 1000.0, "ws_ping_timeout": 500.0}
        async with bare(echo, **options) as (service, address), WebSocketWire(address) as wire:
            assert await wire.upgrade() == 101
            peer = await only_peer(service)
            now = service.now
            contents = set()
            peer.sweep(now)
            for number in range(1, 4):
                peer.sweep(now + number * 1000 - 1)
                peer.sweep(now + number * 1000)
                ping = await wire.frame()
                assert ping is not None
                assert ping.opcode == PING
                contents.add(ping.data)
                peer.sweep(now + number * 1000 + 499)
                await wire.send([encode(PONG, ping.data)])
            assert len(contents) == 3
            assert (await wire.close())[0] == 1000

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_client_that_answers_no_ping_is_failed(loop: str) -> None:
    app = Told()

    async def main() -> None:
        options = {"ws_ping_interval": 1000.0, "ws_ping_timeout": 500.0}
        async with bare(app, **options) as (service, address), WebSocketWire(address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            peer = await only_peer(service)
            now = service.now
            peer.sweep(now)
            peer.sweep(now + 1000)
            assert (await wire.frames(1))[0].opcode == PING
            # It is alive: it talks, though it may be an old message that it is still sending.
            await wire.send([encode(TEXT, b"x")])
            peer.sweep(now + 1400)
            peer.sweep(now + 1899)
            await wire.turns()
            assert peer in service.connections
            peer.sweep(now + 1900)
            assert await wire.end() == (1011, "keepalive ping timeout")
            assert (await app.hears())["text"] == "x"
            assert await app.hears() == _disconnect(1011, "keepalive ping timeout")
            app.ends()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_pings_can_be_switched_off(loop: str) -> None:
    async def main() -> None:
        async with (
            bare(echo, ws_ping_interval=0.0) as (service, address),
            WebSocketWire(address) as wire,
        ):
            assert await wire.upgrade() == 101
            peer = await only_peer(service)
            for late in (0, 1000, 1e6, 1e9):
                peer.sweep(service.now + late)
            await wire.turns()
            assert await wire.close() == (1000, "")

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_client_that_reads_nothing_is_cut(loop: str) -> None:
    app = Told()

    async def main() -> None:
        async with (
            bare(app, timeout_write=100.0) as (service, address),
            WebSocketWire(address) as wire,
        ):
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            peer = await only_peer(service)
            sending = asyncio.ensure_future(_send_for_ever(app))
            await _blocked(peer.transport)
            peer.sweep(service.now + 50)
            peer.sweep(service.now + 99)
            assert not sending.done()
            peer.sweep(service.now + 250)
            with pytest.raises(ClientDisconnected):
                await sending
            assert await app.hears() == _disconnect(1006)
            app.ends()
            await settled(service)

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_client_that_reads_again_stays(loop: str) -> None:
    app = Told()

    async def main() -> None:
        options = {"timeout_write": 100.0, "ws_ping_interval": 0.0}
        async with bare(app, **options) as (service, address), WebSocketWire(address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            peer = await only_peer(service)
            sending = asyncio.ensure_future(_send_for_ever(app))
            await _blocked(peer.transport)
            peer.sweep(service.now + 99)
            sending.cancel()
            while peer.transport.get_write_buffer_size():
                await wire.frame()
            for late in (100, 300, 1000, 1e6):
                peer.sweep(service.now + late)
            app.ends()
            assert await wire.close() == (1000, "")

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_an_application_that_takes_nothing_is_not_the_clients_fault(loop: str) -> None:
    """Nobody reads what it answers to the ping."""
    app = Told()

    async def main() -> None:
        options = {"ws_ping_interval": 1000.0, "ws_ping_timeout": 500.0, "ws_max_queue": 1}
        async with bare(app, **options) as (service, address), WebSocketWire(address) as wire:
            await wire.send([request()])
            await app.accept()
            assert await wire.answer() == 101
            peer = await only_peer(service)
            await wire.send([encode(TEXT, b"unread")])
            for late in range(0, 10_000, 400):
                peer.sweep(service.now + late)
            await wire.turns()
            assert peer in service.connections
            assert (await app.hears())["text"] == "unread"
            pings = await wire.frames(2)
            assert [ping.opcode for ping in pings] == [PING, PING]
            app.ends()
            assert await wire.close() == (1000, "")

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


def test_a_client_that_vanishes_frees_who_waits_to_send(loop: str) -> None:
    app = Told()

    async def main() -> None:
        async with bare(app) as (service, address):
            async with WebSocketWire(address) as wire:
                await wire.send([request()])
                await app.accept()
                assert await wire.answer() == 101
                peer = await only_peer(service)
                several = [asyncio.ensure_future(_send_for_ever(app)) for _ in range(3)]
                await _blocked(peer.transport)
                # One of those who wait is given up, the others are not.
                several[0].cancel()
                await wire.turns()
                assert [each.done() for each in several] == [True, False, False]
            for each in several[1:]:
                with pytest.raises(ClientDisconnected):
                    await each
            app.ends()

    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        runner.run(main())


async def _send_for_ever(app: Told) -> None:
    while True:
        await app.send({"type": SEND, "bytes": bytes(64 * 1024)})


async def _blocked(transport: asyncio.Transport) -> None:
    """Wait until the kernel takes nothing more."""
    before = -1
    async with asyncio.timeout(LIMIT):
        while not before == transport.get_write_buffer_size() > 0:
            before = transport.get_write_buffer_size()
            for _ in range(20):
                await asyncio.sleep(0)


# Drains.


@pytest.mark.parametrize(("code", "reason"), [(1012, "service restart"), (1001, "going away")])
def test_a_drain_says_goodbye(loop: str, code: int, reason: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await _open(app, wire)
            await wire.send([encode(TEXT, b"before")])
            draining = asyncio.ensure_future(running.server.drain(LIMIT, 0.0, code, True))
            assert await wire.frame() == Frame(CLOSE, code.to_bytes(2) + reason.encode())
            with pytest.raises(ClientDisconnected):
                await app.send({"type": SEND, "text": "late"})
            assert (await app.hears())["text"] == "before"
            assert await app.hears() == _disconnect(code, reason)
            await wire.close(code)
            assert not draining.done()
            app.ends()
            assert not await draining

    over(loop, app, main)


def test_who_is_accepted_in_a_drain_hears_goodbye_at_once(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request()])
            await app.called()
            draining = asyncio.ensure_future(running.server.drain(LIMIT, 0.0, 1012, True))
            await wire.turns()
            await app.accept()
            assert await wire.answer() == 101
            assert await wire.close(1012) == (1012, "service restart")
            assert await app.hears() == _disconnect(1012, "service restart")
            app.ends()
            assert not await draining

    over(loop, app, main)


def test_a_websocket_that_outlasts_a_drain_is_named(loop: str) -> None:
    app = Told()

    async def main(running: Running) -> None:
        async with WebSocketWire(running.address) as wire:
            await wire.send([request("/chat")])
            await app.accept()
            assert await wire.answer() == 101
            cut = await running.server.drain(0.0, 0.0, 1012, True)
            assert (cut.requests, cut.websockets, cut.paths) == (0, 1, ("/chat",))
            assert await wire.frame() == Frame(CLOSE, b"\x03\xf4service restart")
        async with asyncio.timeout(LIMIT):
            await app.ended.wait()  # cancelled

    over(loop, app, main)
