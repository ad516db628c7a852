"""Streams of valid requests, and ways to spoil them. Pure: luck is an argument."""

import random
from collections.abc import Iterator
from typing import Final

_HEAD: Final = b" HTTP/1.1\r\nHost: h\r\n"

STREAMS: Final[tuple[bytes, ...]] = (
    b"GET /a" + _HEAD + b"\r\n",
    b"GET /a?b=c" + _HEAD + b"User-Agent: x\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n",
    b"GET /a"
    + _HEAD
    + b"\r\nGET /b"
    + _HEAD
    + b"\r\nGET /c"
    + _HEAD
    + b"Connection: close\r\n\r\n",
    b"POST /a" + _HEAD + b"Content-Length: 5\r\n\r\nhelloGET /b" + _HEAD + b"\r\n",
    b"PUT /a" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\nGET /b" + _HEAD + b"\r\n",
    b"POST /a" + _HEAD + b"transfer-encoding: chunked\r\nTrailer: X\r\n\r\n"
    b"a;x=y\r\n0123456789\r\n00\r\nX: 1\r\n\r\nPOST /b" + _HEAD + b"Content-Length: 0\r\n\r\n",
    b"POST /a" + _HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://h/a" + _HEAD + b"\r\nOPTIONS *" + _HEAD + b"\r\nHEAD /b" + _HEAD + b"\r\n",
    b"GET /a HTTP/1.0\r\nX: 1\r\n\r\n",
    b"GET /a" + _HEAD + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\nGET /b" + _HEAD + b"\r\n",
    b"\r\nGET /a" + _HEAD + b"\r\n\r\nGET /b" + _HEAD + b"\r\n",
    # A request in the body of another one: whoever loses count serves it.
    b"POST /a" + _HEAD + b"Content-Length: 27\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n"
    b"GET /b" + _HEAD + b"\r\n",
)

_WORDS: Final[tuple[bytes, ...]] = (
    *(bytes([each]) for each in b"\0\t\n\r \"#%*+,-/0:;=?@\x7f\x80\xff"),
    b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"0\r\n\r\n", b"5\r\n",
    b"GET ", b"POST ", b"CONNECT ", b"HEAD ", b"PRI * HTTP/2.0\r\n\r\n", b" HTTP/1.0", b" HTTP/1.1",
    b"HTTP/2.0", b"http://h/", b"/", b"*", b"Host: h\r\n", b"Host: i\r\n", b"Host:\r\n",
    b"X: y\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 1000000\r\n",
    b"Content-Length: +5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked, x\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n",
    b"ffffffffffffffff\r\n", b"0000000000000000", b"fffffffffffffffff", b";x=y", b"-1", b"0x",
    b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
)  # fmt: skip


def spoiled(luck: random.Random) -> bytes:
    """A stream with some changes."""
    data = bytearray(luck.choice(STREAMS))
    for _ in range(luck.choice((1, 1, 1, 2, 2, 3, 5))):
        _change(data, luck)
    return bytes(data)


def cut(data: bytes, luck: random.Random) -> Iterator[bytes]:
    """The stream in one piece, in bytes, or in pieces of any size."""
    match luck.randrange(4):
        case 0:
            yield data
        case 1:
            yield from (data[at : at + 1] for at in range(len(data)))
        case _:
            ends = sorted(luck.randrange(len(data) + 1) for _ in range(luck.randrange(1, 6)))
            for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
                if piece := data[start:end]:
                    yield piece


def _change(data: bytearray, luck: random.Random) -> None:
    at = luck.randrange(len(data) + 1)
    to = min(len(data), at + luck.choice((1, 1, 2, 4, 16)))
    match luck.randrange(9):
        case 0 | 1:
            data[at:at] = luck.choice(_WORDS)
        case 2:
            data[at:to] = luck.choice(_WORDS)
        case 3:
            del data[at:to]
        case 4:
            data[at:at] = data[at:to]
        case 5:
            if at < len(data):
                data[at] ^= 1 << luck.randrange(8)
        case 6:
            if at < len(data):
                data[at] = luck.randrange(256)
        case 7:
            _change_lines(data, luck)
        case 8:
            # The beginning of a line is where fields are added.
            ends = [index + 2 for index in range(len(data)) if data[index : index + 2] == b"\r\n"]
            if ends:
                begin = luck.choice(ends)
                data[begin:begin] = luck.choice(_WORDS)


def _change_lines(data: bytearray, luck: random.Random) -> None:
    """Repeat a line, drop one, or change two for each other."""
    lines = bytes(data).split(b"\r\n")
    one, other = luck.randrange(len(lines)), luck.randrange(len(lines))
    match luck.randrange(3):
        case 0:
            lines.insert(other, lines[one])
        case 1:
            del lines[one]
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\r\n".join(lines)
