"""One request and what became of it, as access lines tell it; and gunicorn's format of such lines.

The standard library alone, and nothing of a server.
"""

import base64
import binascii
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

from tercio.system.lines import escape

_Headers = Iterable[tuple[bytes, bytes]]


@dataclass
class Account:
    """A request, its answer, and the time between them."""

    scope: Mapping[str, Any] = field(repr=False)
    """ASGI's."""
    status: int
    headers: _Headers = field(default=(), repr=False)
    """The answer's."""
    sent: int = 0
    """Bytes of the answer's body."""
    seconds: float = 0.0
    """From the call of the application to the end of its answer."""
    time: float = field(default_factory=time.time)
    """Unix seconds of its end."""

    @property
    def client(self) -> str:
        """``127.0.0.1:5000``; nothing of one that has no address."""
        client = self.scope.get("client")
        return f"{client[0]}:{client[1]}" if client else ""

    @property
    def host(self) -> str:
        client = self.scope.get("client")
        return str(client[0]) if client else "-"

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @cached_property
    def path(self) -> str:
        return quote(self.scope["path"])

    @property
    def query(self) -> str:
        query: bytes = self.scope["query_string"]
        return query.decode("latin-1")

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def version(self) -> str:
        return str(self.scope["http_version"])

    @property
    def request_line(self) -> str:
        return f"{self.method} {self.target} HTTP/{self.version}"

    def header(self, name: str) -> str:
        """A field of the request; nothing if it is not there."""
        return _found(self.scope["headers"], name)

    def answer_header(self, name: str) -> str:
        """A field of the answer."""
        return _found(self.headers, name)

    @property
    def user(self) -> str:
        """Whom Basic authentication names."""
        kind, _, text = self.header("authorization").partition(" ")
        if kind.lower() != "basic":
            return ""
        try:
            decoded = base64.b64decode(text.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return ""
        return decoded.partition(":")[0]

    def variable(self, name: str) -> str:
        """What WSGI would call this in its environment, as far as it is about the request."""
        scope = self.scope
        client, server = scope.get("client") or ("", ""), scope.get("server") or ("", "")
        known = {
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": client[1],
            "SERVER_NAME": server[0],
            "SERVER_PORT": server[1],
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": scope.get("root_path", ""),
            "PATH_INFO": scope["path"],
            "QUERY_STRING": self.query,
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "wsgi.url_scheme": scope.get("scheme", ""),
        }
        if name.startswith("HTTP_"):
            return self.header(name[5:].replace("_", "-"))
        return str(known.get(name) or "")


def _found(headers: _Headers, name: str) -> str:
    wanted = name.lower().encode("latin-1", "replace")
    for key, value in headers:
        if bytes(key).lower() == wanted:
            return bytes(value).decode("latin-1")
    return ""


_ATOMS: Final[Mapping[str, Callable[[Account], object]]] = {
    "h": lambda account: account.host,
    "l": lambda account: "-",
    "u": lambda account: account.user.replace(" ", "%20"),  # it stands unquoted
    "t": lambda account: time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(account.time)),
    "r": lambda account: account.request_line,
    "m": lambda account: account.method,
    "U": lambda account: account.path,
    "q": lambda account: account.query,
    "H": lambda account: f"HTTP/{account.version}",
    "s": lambda account: account.status,
    "B": lambda account: account.sent,
    "b": lambda account: account.sent or "-",
    "f": lambda account: account.header("referer"),
    "a": lambda account: account.header("user-agent"),
    "T": lambda account: int(account.seconds),
    "M": lambda account: int(account.seconds * 1e3),
    "D": lambda account: int(account.seconds * 1e6),
    "L": lambda account: f"{account.seconds:.6f}",
    "p": lambda account: f"<{os.getpid()}>",
}


class AtomsFormatter(logging.Formatter):
    """gunicorn's ``--access-logformat``; the line has nothing before it, as there.

    What clients chose cannot end a quoted part: a quotation mark gets a backslash, as there, and so
    does a backslash.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._parts = [_part(piece) for piece in re.findall(r"%%|%\([^)]*\)s|[^%]+", text) if piece]

    def format(self, record: logging.LogRecord) -> str:
        account = record.__dict__.get("account")
        if isinstance(account, Account):
            return self.line(account)
        return escape(record.getMessage())

    def line(self, account: Account) -> str:
        """The line of a request."""
        return "".join([part if isinstance(part, str) else part(account) for part in self._parts])


def _part(piece: str) -> str | Callable[[Account], str]:
    """Text as it stands, or what looks an atom up."""
    if piece == "%%":
        return "%"
    if not piece.startswith("%("):
        return escape(piece)
    atom = piece[2:-2]
    find = _ATOMS[atom] if atom in _ATOMS else _by_name(atom[1:-2], atom[-1])

    def value(account: Account) -> str:
        found = find(account)
        text = "-" if found == "" else str(found)
        return escape(text.replace("\\", "\\\\")).replace('"', '\\"')

    return value


def _by_name(name: str, kind: str) -> Callable[[Account], object]:
    match kind:
        case "i":
            return lambda account: account.header(name)
        case "o":
            return lambda account: account.answer_header(name)
    return lambda account: account.variable(name)
