"""Groups 9, 12 and 13 of the Autobahn test suite: large, many and compressed. See `autobahn`.

Smaller and fewer than there: what is asked is whether it is right, not how fast it is.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.http.autobahn import Case
from tests.http.framing import BINARY, TEXT, Frame, encode, split

KIB: Final = 1024


def large() -> Iterator[Case]:
    """Group 9."""
    sizes = (64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, 1000 * KIB, 1024 * KIB)
    for group, opcode, filling in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for index, size in enumerate(sizes, 1):
            data = filling * size
            yield Case(f"9.{group}.{index}", ((encode(opcode, data), (Frame(opcode, data),)),))
    for group, opcode, filling in ((3, TEXT, b"*"), (4, BINARY, b"\xfe")):
        data = filling * (256 * KIB)
        for index in range(9):
            step = (split(opcode, data, 64 << 2 * index), (Frame(opcode, data),))
            yield Case(f"9.{group}.{index + 1}", (step,))
    for group, opcode, filling in ((5, TEXT, b"*"), (6, BINARY, b"\xfe")):
        data = filling * (128 * KIB)
        sent = encode(opcode, data)
        for index in range(6):
            size = 64 << index
            pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
            steps = tuple((piece, ()) for piece in pieces[:-1])
            yield Case(f"9.{group}.{index + 1}", (*steps, (pieces[-1], (Frame(opcode, data),))))
    for group, opcode, filling in ((7, TEXT, b"*"), (8, BINARY, b"\xfe")):
        for index, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            data = filling * size
            together = encode(opcode, data) * 100
            yield Case(f"9.{group}.{index}", ((together, (Frame(opcode, data),) * 100),))


@dataclass(frozen=True, slots=True)
class CompressedCase:
    """Messages to be echoed, and how their client compresses."""

    number: str
    offer: str
    opcode: int
    messages: tuple[bytes, ...]
    fragment: int
    """Bytes of a fragment, 0 = one frame a message."""
    agreed: frozenset[str]
    """Parameters that the server must agree to."""


_SIZES: Final = (
    *((size, 0) for size in (16, 64, 256, KIB, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB)),
    *((size, 0) for size in (64 * KIB, 128 * KIB)),
    *((size, 256) for size in (8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB)),
    *((size, part) for size, part in ((128 * KIB, 256), (128 * KIB, KIB), (128 * KIB, 4 * KIB))),
    (128 * KIB, 32 * KIB),
)


def compressed() -> Iterator[CompressedCase]:
    """Groups 12 and 13."""
    every = "client_no_context_takeover; client_max_window_bits"
    for group, (opcode, content) in enumerate(_contents(), 1):
        for index, (size, part) in enumerate(_SIZES, 1):
            yield CompressedCase(
                f"12.{group}.{index}",
                f"permessage-deflate; {every}",
                opcode,
                _cut(content, size, 3),
                part,
                frozenset({"client_max_window_bits=12"}),
            )
    _, (_, prose), *_ = _contents()
    for group, (parameters, agreed) in enumerate(_OFFERS, 1):
        for index, (size, part) in enumerate(_SIZES, 1):
            yield CompressedCase(
                f"13.{group}.{index}", parameters, TEXT, _cut(prose, size, 3), part, agreed
            )


_NAME: Final = "permessage-deflate"
_OFFERS: Final = (
    (_NAME, frozenset({"server_max_window_bits=12"})),
    (f"{_NAME}; server_no_context_takeover", frozenset({"server_no_context_takeover"})),
    (f"{_NAME}; server_max_window_bits=9", frozenset({"server_max_window_bits=9"})),
    (f"{_NAME}; server_max_window_bits=15", frozenset({"server_max_window_bits=12"})),
    (
        f"{_NAME}; server_no_context_takeover; server_max_window_bits=9",
        frozenset({"server_no_context_takeover", "server_max_window_bits=9"}),
    ),
    (
        f"{_NAME}; client_no_context_takeover; server_no_context_takeover",
        frozenset({"server_no_context_takeover", "client_no_context_takeover"}),
    ),
    (
        f"{_NAME}; server_no_context_takeover; server_max_window_bits=8, {_NAME}",
        frozenset({"server_max_window_bits=12"}),
    ),
)


def _cut(content: bytes, size: int, count: int) -> tuple[bytes, ...]:
    """Messages that resemble each other and are not the same."""
    return tuple(content[number : number + size] for number in range(0, 7 * count, 7))


def _contents() -> list[tuple[int, bytes]]:
    """An API's answers, prose, a page, a picture, and what cannot be compressed; ASCII if text."""
    chance = random.Random(20)
    least = 129 * KIB
    words = [
        "".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(2 * KIB)
    ]
    prose = " ".join(chance.choices(words, k=30 * KIB))
    rows = [
        {"id": number, "name": chance.choice(words), "at": number * 60} for number in range(4000)
    ]
    page = "".join(f"<p class='{chance.choice(words)}'>{word}</p>\n" for word in words * 4)
    picture = bytes((x * y >> 4) & 255 for y in range(512) for x in range(512))
    contents = [
        (TEXT, json.dumps(rows).encode()),
        (TEXT, prose.encode()),
        (TEXT, page.encode()),
        (BINARY, picture),
        (BINARY, chance.randbytes(least)),
    ]
    assert all(len(content) >= least for _, content in contents)
    return contents
