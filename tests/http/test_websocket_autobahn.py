"""The WebSocket cases of the Autobahn test suite, against a server in the same loop."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests.http import autobahn, autobahn_sizes, autobahn_texts
from tests.http.autobahn import Case
from tests.http.autobahn_sizes import CompressedCase
from tests.http.framing import BINARY, CLOSE, TEXT, Compression, encode, split
from tests.http.harness import Running
from tests.http.upgraded import WebSocketWire, echo, over

CASES = (*autobahn.cases(), *autobahn_texts.cases())
LARGE = tuple(autobahn_sizes.large())
COMPRESSED = tuple(autobahn_sizes.compressed())
SHORT = 4096
"""Bytes of a case that is also sent one by one."""


def test_there_are_about_five_hundred() -> None:
    numbers = [case.number for case in (*CASES, *LARGE)]
    numbers += [case.number for case in COMPRESSED]
    assert len(set(numbers)) == len(numbers)
    assert len(numbers) > 500


def test_each_is_answered_as_the_protocol_demands(loop: str) -> None:
    async def main(running: Running) -> None:
        for case in CASES:
            with _named(case.number):
                await _judge(running, case, whole=True)

    over(loop, echo, main)


def test_each_is_answered_the_same_byte_by_byte(loop: str) -> None:
    async def main(running: Running) -> None:
        for case in CASES:
            if sum(len(sent) for sent, _ in case.steps) + len(case.last) <= SHORT:
                with _named(case.number):
                    await _judge(running, case, whole=False)

    over(loop, echo, main)


def test_large_and_many_messages_come_back(loop: str) -> None:
    async def main(running: Running) -> None:
        for case in LARGE:
            with _named(case.number):
                await _judge(running, case, whole=True)

    over(loop, echo, main)


def test_compressed_messages_come_back(loop: str) -> None:
    async def main(running: Running) -> None:
        for case in COMPRESSED:
            with _named(case.number):
                await _judge_compressed(running, case)

    over(loop, echo, main)


async def _judge(running: Running, case: Case, *, whole: bool) -> None:
    async with WebSocketWire(running.address) as wire:
        assert await wire.upgrade() == 101
        for sent, expected in case.steps:
            await asyncio.gather(
                wire.send(_pieces(sent, whole)), _expect(wire, [frame[:2] for frame in expected])
            )
        await wire.send(_pieces(case.last, whole))
        frames = await wire.frames(3)
        # What was sent together with the mistake may be answered before.
        assert all(frame.opcode != CLOSE for frame in frames[:-1]), frames
        assert len(frames) < 3, frames
        assert frames[-1].opcode == CLOSE, frames
        data = frames[-1].data
        assert case.code == (int.from_bytes(data[:2]) if data else 1005)
        data[2:].decode()


async def _expect(wire: WebSocketWire, expected: list[tuple[int, bytes]]) -> None:
    got = [frame[:2] for frame in await wire.frames(len(expected))]
    # Not in the assertion itself: pytest would explain the difference of a MiB at length.
    are_equal = got == expected
    assert are_equal, [(opcode, len(data), data[:20]) for opcode, data in got]


def _pieces(data: bytes, whole: bool) -> Iterator[bytes]:
    if whole:
        yield data
    else:
        for byte in data:
            yield bytes((byte,))


async def _judge_compressed(running: Running, case: CompressedCase) -> None:
    async with WebSocketWire(running.address) as wire:
        offer = f"Sec-WebSocket-Extensions: {case.offer}"
        assert await wire.upgrade("/", offer) == 101
        agreed = set(wire.headers["sec-websocket-extensions"].split("; "))
        assert case.agreed <= agreed
        values = dict(each.split("=") for each in agreed if "=" in each)
        compression = Compression(
            our_bits=int(values.get("client_max_window_bits", 15)),
            their_bits=int(values.get("server_max_window_bits", 15)),
            keeps_ours="client_no_context_takeover" not in case.offer,
            keeps_theirs="server_no_context_takeover" not in agreed,
        )
        for message in case.messages:
            sent = compression.deflate(message)
            size = case.fragment or len(sent) or 1
            data = split(case.opcode, sent, size, reserved=4)
            (frame,), _ = await asyncio.gather(wire.frames(1), wire.send([data]))
            assert frame.opcode == case.opcode
            is_equal = compression.inflate(frame) == message
            assert is_equal
        # One without compression between compressed ones is allowed.
        plain = encode(BINARY, b"plain")
        await wire.send([plain, split(TEXT, compression.deflate(b"again"), 2, reserved=4)])
        assert [frame.data for frame in await wire.frames(2)] == [b"plain", b"again"]
        assert (await wire.close())[0] == 1000


@contextlib.contextmanager
def _named(number: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"in case {number}")
        raise


@pytest.mark.parametrize("group", range(1, 8))
def test_no_group_is_forgotten(group: int) -> None:
    assert any(case.number.startswith(f"{group}.") for case in CASES)
