"""The dashboard's files. They hold no data, so whoever may connect may have them."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from tercio.http.asgi import Scope
from tercio.sidecar.answers import Answer
from tercio.sidecar.health import header

_HTML: Final = "text/html; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"

_MODULES: Final = (
    "api", "charts", "elements", "format", "happenings", "history", "main", "orders", "stream",
    "workers",
)  # fmt: skip

FILES: Final = {
    "/": ("index.html", _HTML),
    "/page/style.css": ("style.css", _STYLE),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    "/page/uplot.js": ("uplot/uplot.js", _SCRIPT),
    "/page/uplot.css": ("uplot/uplot.css", _STYLE),
    **{f"/page/{name}.js": (f"{name}.js", _SCRIPT) for name in _MODULES},
}
"""Paths, the files beside this module that they are, and what those are."""

_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    tag: str


def answer(scope: Scope) -> Answer | None:
    """The file that a request names, if it names one. HEAD is for the caller to see to."""
    named = FILES.get(scope["path"])
    if named is None or scope["method"] not in ("GET", "HEAD"):
        return None
    file = _read(named[0])
    headers = {**_HEADERS, "etag": file.tag}
    if header(scope, b"if-none-match") == file.tag:
        return Answer(304, b"", named[1], headers)
    return Answer(200, file.body, named[1], headers)


def is_visit(scope: Scope) -> bool:
    """Whether somebody opens the page, and not another page a part of it."""
    return scope["path"] == "/" and header(scope, b"sec-fetch-mode") == "navigate"


@cache
def _read(name: str) -> _File:
    body = resources.files("tercio.sidecar").joinpath("page", name).read_bytes()
    return _File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
