"""WSGI applications."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Start = Callable[[str, list[tuple[str, str]]], object]


class Closing:
    """An answer that takes its time to close."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"all"

    def close(self) -> None:
        os.read(int(os.environ["RIG_HOLD"]), 1)  # until the test lets go
        os.write(int(os.environ["RIG_NEWS"]), b"closed\n")


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/late-close":
        start("200 OK", [("content-type", "text/plain")])
        return Closing()
    return answer(environ, start)


def answer(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    match environ["PATH_INFO"]:
        case "/echo":
            start("200 OK", [("content-type", "text/plain")])
            yield environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        case "/environ":
            start("200 OK", [("content-type", "application/json")])
            yield json.dumps({k: v for k, v in environ.items() if isinstance(v, str)}).encode()
        case "/lines":
            start("200 OK", [("content-type", "text/plain")])
            lines = environ["wsgi.input"]
            short, rest = lines.readline(3), lines.readline()
            yield b"|".join([short, rest, *lines, b"end", lines.read(), lines.read(5)])
        case "/upload":
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                os.write(int(os.environ["RIG_NEWS"]), f"{error}\n".encode())
                raise
            os.write(int(os.environ["RIG_NEWS"]), b"read all\n")
        case "/raise":
            raise ValueError("as asked")
        case "/endless":
            start("200 OK", [("content-type", "text/plain")])
            try:
                while True:
                    yield b"x" * 100
            finally:
                os.write(int(os.environ["RIG_NEWS"]), b"closed\n")
        case _ as path if path.startswith("/large/"):
            _, _, framing, pieces = path.split("/")
            length = [("content-length", str(9 << 20))] if framing == "length" else []
            start("200 OK", [("content-type", "text/plain"), *length])
            for _ in range(int(pieces)):
                yield b"x" * ((9 << 20) // int(pieces))
            os.write(int(os.environ["RIG_NEWS"]), b"closed\n")
        case "/longer-than-it-says":
            start("200 OK", [("content-length", "1")])
            try:
                for _ in range(100):
                    yield b"xx"
            finally:
                os.write(int(os.environ["RIG_NEWS"]), b"closed\n")
        case _ as path if path.startswith("/nap/"):
            threading.Event().wait(float(path.removeprefix("/nap/")))
            start("200 OK", [("content-type", "text/plain")])
            yield b"awake"
        case _ as path if path.startswith("/hold\n"):
            os.read(int(os.environ["RIG_HOLD"]), 1)
        case "/hold":
            os.read(int(os.environ["RIG_HOLD"]), 1)  # until the test lets go
            os.write(int(os.environ["RIG_NEWS"]), b"went on\n")
            start("200 OK", [("content-type", "text/plain")])
            yield b"too late"
        case "/hold-and-raise":
            os.read(int(os.environ["RIG_HOLD"]), 1)
            os.write(int(os.environ["RIG_NEWS"]), b"raises\n")
            raise ValueError("too late")
        case "/slow":
            start("200 OK", [("content-type", "text/plain")])
            for _ in range(8):
                threading.Event().wait(0.1)
                yield b"x"
        case "/stuck":
            start("200 OK", [("content-type", "text/plain")])
            yield b"x"
            threading.Event().wait()
        case _:
            start("200 OK", [("content-type", "text/plain")])
            yield threading.current_thread().name.encode()


def reader(environ: dict[str, Any], start: Start) -> list[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    write = start("200 OK", [("Content-Type", "text/plain")])
    assert callable(write)
    write(environ["PATH_INFO"].encode("latin-1"))
    return [body]


validated = validator(reader)  # raises where one side does not keep to PEP 3333
