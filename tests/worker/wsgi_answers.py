"""A WSGI application that answers as others should not."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Start = Callable[..., Callable[[bytes], None]]

TEXT = ("Content-Type", "text/plain")


def tell(text: str) -> None:
    """To the test."""
    os.write(int(os.environ["RIG_NEWS"]), f"{text}\n".encode())


def app(environ: dict[str, Any], start: Start) -> Iterable[Any]:
    match environ["PATH_INFO"]:
        case "/longer":
            start("200 OK", [TEXT, ("Content-Length", "2")])
            return told(iter([b"ab", b"c"]))
        case "/longer-at-once":
            start("200 OK", [TEXT, ("Content-Length", "2")])
            return [b"abc"]
        case "/shorter":
            start("200 OK", [TEXT, ("Content-Length", "10")])
            return told(iter([b"ab", b"c"]))
        case "/no-number":
            start("200 OK", [TEXT, ("Content-Length", "ten")])
            return [b"ab"]
        case "/204" | "/304" as path:
            start(f"{path[1:]} -", [("Content-Length", "3")])
            return [b"abc"]
        case "/reused":
            start("200 OK", [TEXT])
            return reused()
        case "/text":
            start("200 OK", [TEXT])
            return ["abc"]
        case "/bytes":
            start("200 OK", [TEXT])
            return b"abc"
        case "/again":
            return again(start)
        case "/blanks":
            start(
                "200 OK",
                [TEXT, ("X-Blanks", " \t\u00e0 \u00a0 "), ("Date", "now"), ("Server", "its")],
            )
            return [b""]
        case "/wait":
            os.read(int(os.environ["RIG_HOLD"]), 1)
            return [b""]
        case "/order":
            tell(environ["wsgi.input"].read().decode())
            start("200 OK", [TEXT])
            return [b""]
        case "/large-pieces":
            start("200 OK", [TEXT])
            return large_pieces()
        case _:
            tell("called")
            start("200 OK", [TEXT])
            return [json.dumps({k: v for k, v in environ.items() if isinstance(v, str)}).encode()]


def told(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        tell("closed")


def reused() -> Iterator[bytearray]:
    piece = bytearray(4)
    for number in range(8):
        piece[:] = b"%04d" % number
        yield piece


def large_pieces() -> Iterator[bytes]:
    for number in range(1000):
        yield b"x" * (1 << 20)
        tell(str(number))


def again(start: Start) -> list[bytes]:
    write = start("200 OK", [TEXT])
    write(b"some")
    try:
        raise ValueError("as asked")
    except ValueError:
        start("500 -", [TEXT], sys.exc_info())
    return [b"not reached"]
