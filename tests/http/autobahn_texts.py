"""Group 6 of the Autobahn test suite: which bytes are a text. See `autobahn`."""

from collections.abc import Callable, Iterator
from typing import Final

from tests.http.autobahn import Case
from tests.http.framing import CONTINUATION, TEXT, Frame, encode, split

_GREEK: Final = "κόσμε".encode()
_SURROGATE: Final = b"\xed\xa0\x80"
_TOO_HIGH: Final = b"\xf4\x90\x80\x80"  # U+110000


def cases() -> Iterator[Case]:
    yield from _valid_ones()
    yield from _invalid_ones()
    yield from _early_ends()
    for group, sequences in _SEQUENCES.items():
        for index, sequence in enumerate(sequences(), 1):
            yield _case(f"6.{group}.{index}", sequence)


def _case(number: str, data: bytes) -> Case:
    # Python's own decoder is another one than the server's, which decodes piece by piece.
    try:
        data.decode()
    except UnicodeDecodeError:
        return Case(number, (), encode(TEXT, data), 1007)
    return Case(number, ((encode(TEXT, data), (Frame(TEXT, data),)),))


def _valid_ones() -> Iterator[Case]:
    nothing = encode(TEXT, is_last=False) + encode(CONTINUATION, is_last=False)
    yield Case("6.1.1", ((encode(TEXT), (Frame(TEXT, b""),)),))
    yield Case("6.1.2", ((nothing + encode(CONTINUATION), (Frame(TEXT, b""),)),))
    middle = encode(TEXT, is_last=False) + encode(CONTINUATION, b"middle", is_last=False)
    yield Case("6.1.3", ((middle + encode(CONTINUATION), (Frame(TEXT, b"middle"),)),))
    text = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    answer = (Frame(TEXT, text),)
    yield Case("6.2.1", ((encode(TEXT, text), answer),))
    yield Case("6.2.2", ((split(TEXT, text, 12), answer),))
    yield Case("6.2.3", ((split(TEXT, text, 1), answer),))
    yield Case("6.2.4", ((split(TEXT, _GREEK, 1), (Frame(TEXT, _GREEK),)),))


def _invalid_ones() -> Iterator[Case]:
    data = _GREEK + _SURROGATE + b"edited"
    yield Case("6.3.1", (), encode(TEXT, data), 1007)
    yield Case("6.3.2", (), split(TEXT, data, 1), 1007)


def _early_ends() -> Iterator[Case]:
    """The fragment that breaks the text is the last thing that is sent: the message goes on."""
    for index, wrong in enumerate((_TOO_HIGH, _TOO_HIGH[:2]), 1):
        first = encode(TEXT, _GREEK, is_last=False)
        broken = encode(CONTINUATION, wrong, is_last=False)
        yield Case(f"6.4.{index}", ((first, ()),), broken, 1007)
        # In one frame, whose end has to come first.
        yield Case(f"6.4.{index + 2}", (), encode(TEXT, _GREEK + wrong + b"edited"), 1007)
    cut = _GREEK[:-1]
    yield Case("6.4.x1", ((encode(TEXT, cut, is_last=False), ()),), encode(CONTINUATION), 1007)
    yield Case(
        "6.4.x2", ((encode(TEXT, cut, is_last=False), ()),), encode(CONTINUATION, b"!"), 1007
    )


def _hex(*sequences: str) -> list[bytes]:
    return [bytes.fromhex(sequence) for sequence in sequences]


def _lonely_starts() -> list[bytes]:
    ranges = ((0xC0, 0xE0), (0xE0, 0xF0), (0xF0, 0xF8), (0xF8, 0xFC), (0xFC, 0xFE))
    return [b"".join(bytes((byte, 32)) for byte in range(*each)) for each in ranges]


def _lacking_their_last() -> list[bytes]:
    least = _hex("c0", "e080", "f08080", "f8808080", "fc80808080")
    return [*least, *_hex("df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf")]


def _surrogate_pairs() -> list[bytes]:
    high = ("eda080", "edadbf", "edae80", "edafbf")
    low = ("edb080", "edbfbf")
    return _hex(*(first + second for first in high for second in low))


def _noncharacters() -> list[bytes]:
    return [chr(plane << 16 | last).encode() for plane in range(17) for last in (0xFFFE, 0xFFFF)]


# After Markus Kuhn's "UTF-8 decoder capability and stress test", as the suite has them.
_SEQUENCES: Final[dict[int, Callable[[], list[bytes]]]] = {
    5: lambda: [_GREEK, _GREEK + b"\x00" + _GREEK, b"\x00", b"\x7f", "€\u07ff".encode()],
    6: lambda: [_GREEK[:size] for size in range(1, len(_GREEK) + 1)],
    7: lambda: _hex("00", "c280", "e0a080", "f0908080"),
    8: lambda: _hex("f888808080", "fc8480808080"),
    9: lambda: _hex("7f", "dfbf", "efbfbf", "f48fbfbf"),
    10: lambda: _hex("f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"),
    11: lambda: _hex("ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"),
    12: lambda: [
        *_hex("80", "bf"),
        *(bytes(0x80 + number % 2 * 0x3F for number in range(size)) for size in range(2, 7)),
        bytes(range(0x80, 0xC0)),
    ],
    13: _lonely_starts,
    14: _lacking_their_last,
    15: lambda: [b"".join(_lacking_their_last())],
    16: lambda: _hex("fe", "ff", "fefeffff"),
    17: lambda: _hex("c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"),
    18: lambda: _hex("c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"),
    19: lambda: _hex("c080", "e08080", "f0808080", "f880808080", "fc8080808080"),
    20: lambda: _hex("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"),
    21: _surrogate_pairs,
    22: _noncharacters,
    23: lambda: [chr(number).encode() for number in range(0xFFF9, 0x10000)],
}
