"""Frames against the parser of `websockets`: however they are cut, the verdict is the same."""

import itertools
import sys
import zlib
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import OPEN, Protocol, Side

from tercio.http import frames
from tercio.http.deflate import Deflate
from tercio.http.frames import FrameReader, Violation
from tests.http.framing import FrameParser, encode

LIMIT = 300


@dataclass(frozen=True)
class Verdict:
    """What came out: messages and control frames, and the code of the failure, if any."""

    parts: tuple[tuple[int, bytes], ...]
    code: int | None


def _extension() -> PerMessageDeflate:
    return PerMessageDeflate(False, False, 12, 12, {"memLevel": 5})


def ours(pieces: list[bytes], *, deflate: bool) -> Verdict:
    reader = FrameReader(LIMIT)
    reader.agree(Deflate(_extension()) if deflate else None)
    parts: list[tuple[int, bytes]] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (part := reader.read()) is not None:
                opcode, content = part
                if opcode == frames.CONTINUATION:
                    continue  # a part of a message that is not complete
                if opcode == frames.TEXT:
                    frames.text(content)
                parts.append((int(opcode), content))
                if opcode == frames.CLOSE:
                    frames.read_close(content)
                    return Verdict(tuple(parts), None)
    except Violation as violation:
        if parts and parts[-1][0] == frames.CLOSE:
            parts.pop()
        return Verdict(tuple(parts), violation.code)
    return Verdict(tuple(parts), None)


def theirs(pieces: list[bytes], *, deflate: bool) -> Verdict:
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=LIMIT)
    protocol.extensions = [_extension()] if deflate else []
    parts: list[tuple[int, bytes]] = []
    message = b""
    kind = 0
    for piece in pieces:
        protocol.receive_data(piece)
        for event in protocol.events_received():
            opcode, data, is_last = event.opcode, bytes(event.data), event.fin  # type: ignore[union-attr]
            if opcode >= Opcode.CLOSE:
                parts.append((int(opcode), data))
                if opcode == Opcode.CLOSE:
                    return Verdict(tuple(parts), None)
                continue
            if opcode != Opcode.CONT:
                message, kind = b"", int(opcode)
            message += data
            if is_last:
                # The protocol leaves it to its user whether a text is one.
                if kind == Opcode.TEXT and not _is_text(message):
                    return Verdict(tuple(parts), 1007)
                parts.append((kind, message))
        if protocol.parser_exc is not None:
            assert protocol.close_sent is not None
            return Verdict(tuple(parts), int(protocol.close_sent.code))
    return Verdict(tuple(parts), None)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


contents = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=10).map(str.encode),
    st.integers(0, LIMIT + 2).map(lambda size: b"a" * size),
)
codes = st.integers(990, 1020).map(lambda code: code.to_bytes(2) + b"why")
single = st.builds(
    encode,
    st.one_of(st.sampled_from([0, 1, 2, 8, 9, 10]), st.integers(0, 15)),
    st.one_of(contents, codes),
    is_last=st.booleans(),
    reserved=st.sampled_from([0] * 12 + [1, 2, 7]),
    is_masked=st.sampled_from([True] * 20 + [False]),
)


def _valid(opcode: int, content: bytes, parts: int, is_packed: bool) -> bytes:
    if is_packed:
        deflater = zlib.compressobj(wbits=-12)
        content = (deflater.compress(content) + deflater.flush(zlib.Z_FULL_FLUSH))[:-4]
    size = len(content) // parts + 1
    return b"".join(
        encode(
            0 if index else opcode,
            content[index * size : (index + 1) * size],
            is_last=index == parts - 1,
            reserved=4 if is_packed and not index else 0,
        )
        for index in range(parts)
    )


whole = st.builds(_valid, st.sampled_from([1, 2]), contents, st.integers(1, 4), st.booleans())
# Nothing with a final block: after it `websockets` takes all messages for empty ones.
broken = st.sampled_from([encode(1, b"\xff" * 5, reserved=4), encode(9, b"x", reserved=4)])
streams = st.lists(st.one_of(single, whole, broken), max_size=6).map(b"".join)


def _cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


def _stops_early(verdict: Verdict, other: Verdict) -> bool:
    """A broken text is refused with the fragment that breaks it, not with a later mistake."""
    return verdict.code == 1007 and other.parts[: len(verdict.parts)] == verdict.parts


def _has_close_in_a_message(verdict: Verdict, other: Verdict) -> bool:
    """RFC 6455, 5.4, allows control frames between fragments; `websockets` refuses this one."""
    return (
        bool(verdict.parts)
        and verdict.parts[-1][0] == frames.CLOSE
        and other == Verdict(verdict.parts[:-1], 1002)
    )


def _has_two_mistakes(verdict: Verdict, other: Verdict) -> bool:
    """A frame is too large and out of place: the one or the other is seen first."""
    return verdict.parts == other.parts and {verdict.code, other.code} == {1002, 1009}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(streams, st.lists(st.integers(0, 1 << 16), max_size=5), st.booleans())
def test_the_verdict_is_that_of_websockets(stream: bytes, places: list[int], deflate: bool) -> None:
    mine = ours(_cut(stream, places), deflate=deflate)
    other = theirs([stream], deflate=deflate)
    assert (
        mine == other
        or _stops_early(mine, other)
        or _has_close_in_a_message(mine, other)
        or _has_two_mistakes(mine, other)
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(streams, st.booleans())
def test_the_verdict_is_the_same_byte_by_byte(stream: bytes, deflate: bool) -> None:
    pieces = [stream[at : at + 1] for at in range(len(stream))]
    assert ours(pieces, deflate=deflate) == ours([stream], deflate=deflate)


@pytest.mark.parametrize(
    "stream",
    [
        encode(1, b"", reserved=4, is_last=False) + encode(0, b"", reserved=4),
        encode(1, b"a", is_last=False) + encode(0, b"a", reserved=4),
        encode(8, b"", reserved=4),
        encode(2, b"", reserved=6),
    ],
)
def test_only_the_first_frame_says_that_a_message_is_compressed(stream: bytes) -> None:
    assert ours([stream], deflate=True) == Verdict((), 1002)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_frame_has_the_shortest_length(size: int) -> None:
    (frame,) = FrameParser().feed(frames.frame(0x82, bytes(size)))
    assert (frame.opcode, len(frame.data)) == (2, size)


def test_a_reader_keeps_nothing_that_was_read() -> None:
    reader = FrameReader(1 << 20)
    reader.feed(encode(2, bytes(200_000)) + encode(9, b"x")[:3])
    assert reader.read() == (2, bytes(200_000))
    assert reader.read() is None
    reader.feed(encode(9, b"x")[3:])
    assert reader.left == 7
    assert reader.read() == (9, b"x")
    assert reader.read() is None
    assert reader.left == 0
    data = encode(2, bytes(100))
    before = sys.getrefcount(data)
    reader = FrameReader(100)
    reader.feed(data)
    assert reader.read() == (2, bytes(100))
    assert reader.read() is None
    assert sys.getrefcount(data) == before
