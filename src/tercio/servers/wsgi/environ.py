"""What a WSGI application is told of a request (PEP 3333, "environ Variables"). Pure."""

import sys
from typing import Any, BinaryIO

from tercio.http.asgi import Scope

_OWN = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def environ_of(scope: Scope, body: BinaryIO) -> dict[str, Any]:
    """The environ; text in it stands for bytes, as Latin-1.

    All cookies are in one field: HTTP/2 lets browsers send each in its own, to be joined with "; "
    (RFC 9113, section 8.2.3). A header with an underscore in its name is left out: X_Real_IP would
    be X-Real-IP, which a proxy in front vouches for, and it removes only the one that it writes.
    """
    root = _text(scope.get("root_path", ""))
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root,
        "PATH_INFO": _text(scope["path"]).removeprefix(root),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,  # Werkzeug: the body ends by itself, also a chunked one
        "asgi.scope": scope,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = _OWN.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if name == b'cookie' else ','}{text}"
        environ[key] = text
    return environ


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("latin-1")
