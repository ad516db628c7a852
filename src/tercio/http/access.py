"""Write a line for each request, as uvicorn writes it, and far cheaper than by `logging`.

A record through `logging` costs 12 us, as much as a small request. So lines are put together here
and written once in a turn of the loop, as long as logging is set up as `tercio.logs` did it. Where
somebody has changed that, with a handler, a filter or a level of his own, each line is a record
again, with the arguments that formatters for uvicorn's records expect.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import quote

from tercio.http.asgi import Scope
from tercio.logs import (
    AccessFormatter,
    Account,
    AtomsFormatter,
    JsonAccessFormatter,
    LineHandler,
)
from tercio.system.lines import LineWriter, escape

ACCOUNTING: Final = (JsonAccessFormatter, AtomsFormatter)
"""Formatters of lines that tell more than was known when the answer began."""

_RECORD: Final = '%s - "%s %s HTTP/%s" %d'

_KEPT: Final = 1024
"""Parts of lines that are kept: paths and clients, as most lines have what others had before."""

_LONG: Final = 1024
"""Characters of a path with its query, from which on a line may be too long."""

# What `quote` leaves as it is. It takes 1 us to say so.
_plain = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch

_log = logging.getLogger("tercio.http")


class AccessLog:
    """The access log of one server. To be used in the loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._own = logging.getLogger("tercio.access")
        self._uvicorn = logging.getLogger("uvicorn.access")
        self._handler: LineHandler | None = None
        self._writer: LineWriter | None = None  # None: by `logging`
        self._lines: list[str] = []  # the writer's
        self._is_added = False  # in this turn of the loop: lines wait to be written
        self._beginning = self._opening = ""
        self._starts: dict[tuple[str, int] | None, str] = {}  # by client
        self._closings: dict[int, str] = {}  # by status, of HTTP/1.1
        self._targets: dict[str, str] = {}  # by path

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Self | None:
        """The access log, or None if nobody would get a line.

        To be asked after the application's start-up, which may set up logging.
        """
        log = cls(loop)
        heard = any(
            logger.isEnabledFor(logging.INFO) and logger.hasHandlers()
            for logger in (log._own, log._uvicorn)
        )
        return log if heard else None

    def write(self, scope: Scope, status: int) -> None:
        """Log that a request is answered with ``status``."""
        # Asked once a turn: whoever changes the configuration is heard in the next one.
        if not self._is_added:
            self._begin()
        if self._writer is None:
            self._record(scope, status)
            return
        path = scope["path"]
        target = self._targets.get(path) or self._quoted(path)
        if query := scope["query_string"]:
            target = f"{target}?{query.decode('latin-1')}"
            if not (target.isascii() and target.isprintable()):
                target = escape(target)
        method = scope["method"]
        if not method.isprintable():
            method = escape(method)
        closing = self._closings.get(status) if scope["http_version"] == "1.1" else None
        if closing is None:
            closing = self._closing(scope["http_version"], status)
        client = scope["client"]
        try:
            start = self._starts.get(client) or self._start(client)
        except TypeError:  # an application has put a list there
            start = self._start(tuple(client))
        line = f"{start}{method} {target}{closing}"
        if len(target) < _LONG:
            # A connection adds one a turn: their number is the bound of what waits here.
            self._lines.append(line)
        else:
            self._writer.write(line, escaped=True)

    def _begin(self) -> None:
        """Look how lines are to be written, and see to it that they are."""
        handler = untouched(self._own)
        if handler is None or untouched(self._uvicorn) is not handler:
            self._writer = self._handler = None
            return
        self._is_added = True
        self._loop.call_soon(self._push, handler.writer)
        if handler is not self._handler:
            formatter = handler.formatter
            assert isinstance(formatter, AccessFormatter)
            self._handler = handler
            self._writer = handler.writer
            self._lines = handler.writer.lines
            self._formatter = formatter
            self._beginning, self._opening = formatter.beginning, formatter.opening
            self._starts, self._closings = {}, {}

    def _push(self, writer: LineWriter) -> None:
        self._is_added = False
        writer.push()

    def _start(self, client: tuple[str, int] | None) -> str:
        who = escape(f"{client[0]}:{client[1]}") if client else ""
        if len(self._starts) >= _KEPT:
            self._starts.clear()
        start = self._starts[client] = f"{self._beginning}{who}{self._opening}"
        return start

    def _quoted(self, path: str) -> str:
        quoted = path if _plain(path) else quote(path)
        if len(quoted) < _LONG:
            if len(self._targets) >= _KEPT:
                self._targets.clear()  # paths that never come again must not keep out those that do
            self._targets[path] = quoted
        return quoted

    def _closing(self, version: str, status: int) -> str:
        closing = self._formatter.closing(version, status) + "\n"
        if version == "1.1":
            self._closings[status] = closing
        return closing

    def _record(
        self, scope: Mapping[str, Any], status: int, account: Account | None = None
    ) -> None:
        """By `logging`: to uvicorn's logger if only that was changed, else to our own."""
        logger = self._own
        kinds: _Kinds = (AccessFormatter,) if account is None else ACCOUNTING
        if untouched(logger, kinds) is not None:
            logger = self._uvicorn
        elif logger.disabled or not logger.hasHandlers():
            # dictConfig() disables what it does not name, and people name uvicorn's.
            logger = logger if untouched(self._uvicorn, kinds) is not None else self._uvicorn
        logger.info(
            _RECORD,
            _client(scope),
            scope["method"],
            _target(scope),
            scope["http_version"],
            status,
            extra=None if account is None else {"account": account},
        )


def log_websocket(scope: Scope, status: int | None) -> None:
    """Log that a WebSocket is accepted, or which status it got instead.

    As in uvicorn it is no access line, but one of the server's.
    """
    outcome = "[accepted]" if status is None else str(status)
    _log.info('%s - "WebSocket %s" %s', _client(scope), _target(scope), outcome)


_Kinds = tuple[type[logging.Formatter], ...]


def untouched(logger: logging.Logger, kinds: _Kinds = (AccessFormatter,)) -> LineHandler | None:
    """The handler of a logger that is as `tercio.logs` has set it up, with such a formatter."""
    handlers = logger.handlers
    if len(handlers) != 1 or logger.filters or logger.disabled or logger.propagate:
        return None
    handler = handlers[0]
    if (
        type(handler) is LineHandler
        and type(handler.formatter) in kinds
        and not handler.filters
        and handler.level <= logging.INFO
        and logger.level <= logging.INFO
        and logger.manager.disable < logging.INFO
    ):
        return handler
    return None


def _client(scope: Mapping[str, Any]) -> str:
    client = scope["client"]
    return f"{client[0]}:{client[1]}" if client else ""


def _target(scope: Mapping[str, Any]) -> str:
    path = quote(scope["path"])
    query = scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path
