"""What a WebSocket server has to do, as data: the questions of the Autobahn test suite.

The numbers are those of its groups, so that its reports can be compared; the cases are put anew.
Here are groups 1-5, 7 and 10; texts are in `autobahn_texts`, sizes in `autobahn_sizes`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.http.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    encode,
    split,
)

GOODBYE: Final = (close(1000), 1000)
PROTOCOL_ERROR: Final = (b"", 1002)
INVALID_TEXT: Final = (b"", 1007)


@dataclass(frozen=True, slots=True)
class Case:
    """Steps of (what is sent, the frames that answer it), and then the end.

    ``last`` is what brings it about; ``code`` is in the server's close frame, which is the last
    thing that it sends. An echo of what was sent together with a mistake may be missing.
    """

    number: str
    steps: tuple[tuple[bytes, tuple[Frame, ...]], ...] = ()
    last: bytes = GOODBYE[0]
    code: int = GOODBYE[1]


def cases() -> Iterator[Case]:
    """Everything of these groups."""
    yield from _echoes()
    yield from _pings()
    yield from _reserved_bits()
    yield from _reserved_opcodes()
    yield from _fragments()
    yield from _closes()
    yield Case("10.1.1", ((split(TEXT, b"*" * 65536, 1300), (Frame(TEXT, b"*" * 65536),)),))


def _echo(opcode: int, data: bytes) -> tuple[bytes, tuple[Frame, ...]]:
    return encode(opcode, data), (Frame(opcode, data),)


def _echoes() -> Iterator[Case]:
    sizes = (0, 125, 126, 127, 128, 65535, 65536)
    for group, opcode, filling in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for index, size in enumerate(sizes, 1):
            yield Case(f"1.{group}.{index}", (_echo(opcode, filling * size),))
        # The last: as the one before, in pieces that are no fragments.
        data = filling * 65536
        sent = encode(opcode, data)
        pieces = [sent[at : at + 997] for at in range(0, len(sent), 997)]
        steps = tuple((piece, ()) for piece in pieces[:-1])
        yield Case(f"1.{group}.8", (*steps, (pieces[-1], (Frame(opcode, data),))))


def _pings() -> Iterator[Case]:
    contents = (b"", b"Hello, world!", bytes((0, 255, 254, 253, 252, 251, 0, 255)), b"\xfe" * 125)
    for index, content in enumerate(contents, 1):
        yield Case(f"2.{index}", ((encode(PING, content), (Frame(PONG, content),)),))
    yield Case("2.5", (), encode(PING, b"\xfe" * 126), 1002)
    yield Case("2.6", ((encode(PING, b"\xfe" * 125), (Frame(PONG, b"\xfe" * 125),)),) * 2)
    # Pongs that nobody asked for.
    yield Case("2.7", ((encode(PONG), ()),))
    yield Case("2.8", ((encode(PONG, b"unasked"), ()),))
    ping = (encode(PING, b"asked"), (Frame(PONG, b"asked"),))
    yield Case("2.9", ((encode(PONG, b"unasked"), ()), ping))
    pings = tuple((encode(PING, b"%d" % n), (Frame(PONG, b"%d" % n),)) for n in range(10))
    yield Case("2.10", pings)
    together = b"".join(sent for sent, _ in pings)
    yield Case("2.11", ((together, tuple(frame for _, (frame,) in pings)),))


def _reserved_bits() -> Iterator[Case]:
    hello = _echo(TEXT, b"Hello, world!")
    for bits in range(1, 8):
        # 4 is the mark of compression, which these clients do not offer.
        broken = {
            1: encode(TEXT, b"Hello, world!", reserved=1),
            2: encode(TEXT, b"Hello, world!", reserved=2),
            3: encode(TEXT, b"Hello, world!", reserved=3),
            4: encode(TEXT, b"Hello, world!", reserved=4),
            5: encode(BINARY, b"\xff" * 8, reserved=5),
            6: encode(PING, b"Hello, world!", reserved=6),
            7: encode(CLOSE, b"\x03\xe8", reserved=7),
        }[bits]
        steps = () if bits in (1, 5, 6, 7) else (hello,)
        yield Case(f"3.{bits}", steps, broken, 1002)


def _reserved_opcodes() -> Iterator[Case]:
    hello = _echo(TEXT, b"Hello, world!")
    for group, first in ((1, 3), (2, 11)):
        for index in range(5):
            steps = () if index < 2 else (hello,)
            content = b"" if index in (0, 2) else b"reserved"
            broken = encode(first + index, content) + encode(PING)
            yield Case(f"4.{group}.{index + 1}", steps, broken, 1002)


def _fragments() -> Iterator[Case]:
    one, two = b"fragment1", b"fragment2"
    first = encode(TEXT, one, is_last=False)
    last = encode(CONTINUATION, two)
    ping = encode(PING, b"ping")
    pong = Frame(PONG, b"ping")
    both = Frame(TEXT, one + two)

    yield Case("5.1", (), encode(PING, one, is_last=False) + last, 1002)
    yield Case("5.2", (), encode(PONG, one, is_last=False) + last, 1002)
    # A message of two fragments: together, one after the other, in small pieces.
    yield Case("5.3", ((first + last, (both,)),))
    yield Case("5.4", ((first, ()), (last, (both,))))
    sent = first + last
    pieces = tuple((sent[at : at + 2], ()) for at in range(0, len(sent) - 2, 2))
    yield Case("5.5", (*pieces, (sent[2 * len(pieces) :], (both,))))
    # A ping between the fragments is answered at once.
    yield Case("5.6", ((first + ping + last, (pong, both)),))
    yield Case("5.7", ((first, ()), (ping, (pong,)), (last, (both,))))
    sent = first + ping
    pieces = tuple((sent[at : at + 2], ()) for at in range(0, len(sent) - 2, 2))
    yield Case("5.8", (*pieces, (sent[2 * len(pieces) :], (pong,)), (last, (both,))))
    # Nothing to continue: before any message, or after a whole one.
    stray = encode(CONTINUATION, b"stray")
    open_ended = encode(CONTINUATION, b"stray", is_last=False)
    hello = _echo(TEXT, b"Hello, world!")
    yield Case("5.9", (), stray + hello[0], 1002)
    yield Case("5.10", (), stray, 1002)
    yield Case("5.11", (hello,), stray, 1002)
    yield Case("5.12", (), open_ended + hello[0], 1002)
    yield Case("5.13", (), open_ended, 1002)
    yield Case("5.14", (hello,), open_ended, 1002)
    yield Case("5.15", ((first + last, (both,)),), open_ended + encode(TEXT, b"x"), 1002)
    again = _repeated(open_ended, stray)
    for index, (opcode, is_apart) in enumerate(((TEXT, False), (TEXT, True), (BINARY, False)), 16):
        steps = ((encode(opcode, b"whole"), (Frame(opcode, b"whole"),)),) if is_apart else ()
        yield Case(f"5.{index}", steps, again, 1002)
    # Five fragments with pings between: four pongs, then the message.
    parts = [b"fragment%d" % number for number in range(1, 6)]
    second_ping = encode(PING, b"pong me 2")
    second_pong = Frame(PONG, b"pong me 2")
    middle = encode(CONTINUATION, parts[2], is_last=False)
    opening = encode(TEXT, parts[0], is_last=False) + encode(CONTINUATION, parts[1], is_last=False)
    ending = encode(CONTINUATION, parts[3], is_last=False) + second_ping
    whole = Frame(TEXT, b"".join(parts))
    yield Case(
        "5.19",
        (
            (opening + ping, (pong,)),
            (middle + ending, (second_pong,)),
            (encode(CONTINUATION, parts[4]), (whole,)),
        ),
    )
    together = opening + ping + middle + ending + encode(CONTINUATION, parts[4])
    yield Case("5.20", ((together, (pong, second_pong, whole)),))
    # Not in the suite: a message must be over before the next one.
    yield Case("5.x1", ((first, ()),), encode(TEXT, two), 1002)
    yield Case("5.x2", ((first, ()),), encode(BINARY, two), 1002)
    many = split(BINARY, bytes(range(256)), 1)
    yield Case("5.x3", ((many, (Frame(BINARY, bytes(range(256))),)),))
    empty = split(TEXT, b"", 1).replace(b"\x81", b"\x01", 1) + encode(CONTINUATION)
    yield Case("5.x4", ((empty, (Frame(TEXT, b""),)),))


def _repeated(*frames: bytes) -> bytes:
    return b"".join(frames) * 2


def _closes() -> Iterator[Case]:
    hello = _echo(TEXT, b"Hello World!")
    # After the client's close nothing counts any more.
    yield Case("7.1.1", (hello,))
    yield Case("7.1.2", (), close(1000) + close(1000))
    yield Case("7.1.3", (), close(1000) + encode(PING))
    yield Case("7.1.4", (), close(1000) + hello[0])
    fragment = encode(TEXT, b"fragment1", is_last=False)
    yield Case("7.1.5", (), fragment + close(1000) + encode(CONTINUATION, b"fragment2"))
    large = b"BAsd7&jh23" * 26214
    yield Case("7.1.6", ((encode(TEXT, large), (Frame(TEXT, large),)),), close(1000) + encode(PING))
    # Contents of a close frame.
    yield Case("7.3.1", (), close(), 1005)
    yield Case("7.3.2", (), encode(CLOSE, b"a"), 1002)
    yield Case("7.3.3", (), close(1000))
    yield Case("7.3.4", (), close(1000, b"Hello World!"))
    yield Case("7.3.5", (), close(1000, b"*" * 123))
    yield Case("7.3.6", (), close(1000, b"*" * 124), 1002)
    yield Case("7.5.1", (), close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), 1007)
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for index, code in enumerate(valid, 1):
        yield Case(f"7.7.{index}", (), close(code), code)
    invalid = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)
    for index, code in enumerate(invalid, 1):
        yield Case(f"7.9.{index}", (), close(code), 1002)
    for index, code in enumerate((5000, 65535), 1):
        yield Case(f"7.13.{index}", (), close(code), 1002)
    # Registered since: service restart, try again later, bad gateway; and TLS's, never to be sent.
    for code in (1012, 1013, 1014):
        yield Case(f"7.7.x{code}", (), close(code), code)
    yield Case("7.9.x1015", (), close(1015), 1002)
    # Masks and lengths (5.1 and 5.2 of the RFC).
    yield Case("7.x.mask", (), encode(TEXT, b"Hello", is_masked=False), 1002)
    yield Case("7.x.ping", (), encode(PING, is_masked=False), 1002)
    yield Case("7.x.long", (), encode(BINARY, b"", length=1 << 63), 1009)
    yield Case("7.x.huge", (), encode(TEXT, b"", length=(1 << 20) + 1), 1009)
