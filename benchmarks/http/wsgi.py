"""The bare WSGI application, and what a2wsgi makes of it for uvicorn."""

from collections.abc import Callable
from typing import Any

from benchmarks.http.app import HELLO

Start = Callable[[str, list[tuple[str, str]]], object]


def app(environ: dict[str, Any], start: Start) -> list[bytes]:
    body = HELLO
    if environ["PATH_INFO"] == "/size":
        body = b"%d" % len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


try:
    from a2wsgi import WSGIMiddleware
except ImportError:
    pass  # only its own server needs it
else:
    bridged = WSGIMiddleware(app, workers=10)  # type: ignore[arg-type]  # its own types
