"""What a WSGI application is told of a request (PEP 3333, "environ Variables"). Pure."""

import sys
from typing import Any, BinaryIO, Final
from urllib.parse import unquote_to_bytes

from tercio.http.asgi import Scope

_OWN: Final = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_PORTS: Final = {"http": 80, "https": 443}


def environ_of(scope: Scope, body: BinaryIO) -> dict[str, Any]:
    """The environ; text in it stands for bytes, as Latin-1.

    All cookies are in one field: HTTP/2 lets browsers send each in its own, to be joined with "; "
    (RFC 9113, section 8.2.3). A header with an underscore in its name is left out: X_Real_IP would
    be X-Real-IP, which a proxy in front vouches for, and it removes only the one that it writes.
    """
    scheme = scope.get("scheme", "http")
    host, port = scope.get("server") or ("localhost", None)
    if port is None:  # a Unix socket has a path, which is no name for others
        host, port = "localhost", _PORTS.get(scheme, 80)
    client = scope.get("client") or ("", "")  # the name may be empty, and must be there
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _text(scope.get("root_path", "")),
        "PATH_INFO": _path(scope),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.url_scheme": scheme,
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,  # Werkzeug: the body ends by itself, also a chunked one
        "asgi.scope": scope,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = _OWN.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if name == b'cookie' else ','}{text}"
        environ[key] = text
    return environ


def _path(scope: Scope) -> str:
    root = scope.get("root_path", "")
    raw = scope.get("raw_path")
    if raw is None:
        return _text(scope["path"].removeprefix(root))
    # Not every path is UTF-8, and what is not has been replaced in `path`.
    raw = raw.removeprefix(root.encode())
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode("latin-1")


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("latin-1")
