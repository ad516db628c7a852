"""Records as text: uvicorn's look, harmless for terminals and for whoever splits lines."""

import http
import logging
import re

from tercio.redaction import redact
from tercio.system.lines import escape

TRACE = 5

_PREFIX_WIDTH = 9  # "CRITICAL:"
_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_LEVEL_COLOURS = {
    TRACE: "\x1b[34m",
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[91m",
}
_STATUS_COLOURS = {1: "\x1b[97m", 2: "\x1b[32m", 3: "\x1b[33m", 4: "\x1b[31m", 5: "\x1b[91m"}
_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
# A line within a record that could be taken for the beginning of another one.
_LOOKS_LIKE_A_RECORD = re.compile("[A-Z]+:")


class LineFormatter(logging.Formatter):
    """``INFO:     message``, or ``INFO:     [3.7] message`` in a worker.

    The result is harmless: whatever was logged, the only control characters in it are the ends of
    lines and our own colours, and only its first line looks like the beginning of a record.
    """

    def __init__(self, *, use_colors: bool, name: str = "") -> None:
        super().__init__()
        self._use_colors = use_colors
        self._tag = f"[{escape(name)}] " if name else ""

    def rename(self, name: str) -> None:
        """Be the formatter of another worker from now on, unless no name is shown."""
        if self._tag:
            self._tag = f"[{escape(name)}] "

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = self._message(record).split("\n")
        lines = [f"{self._prefix(record)} {self._tag}{first}"]
        for detail in (self._traceback(record), record.stack_info):
            if detail:
                rest.extend(escape(line) for line in detail.rstrip("\n").split("\n"))
        lines.extend(f"    {line}" if _LOOKS_LIKE_A_RECORD.match(line) else line for line in rest)
        return redact("\n".join(lines))

    def _message(self, record: logging.LogRecord) -> str:
        """Return the message, harmless but for the ends of its lines."""
        coloured = record.__dict__.get("color_message")
        if not self._use_colors or not isinstance(coloured, str):
            return "\n".join(escape(line) for line in record.getMessage().split("\n"))
        # uvicorn's start-up messages bring a second text with colours. Only those are let through.
        text = str(coloured % record.args if record.args else coloured)
        parts = _COLOUR.split(text.replace("\n", " "))
        return "".join(part if _COLOUR.fullmatch(part) else escape(part) for part in parts)

    def _prefix(self, record: logging.LogRecord) -> str:
        level = escape(record.levelname)
        space = " " * (_PREFIX_WIDTH - 1 - len(level))
        if self._use_colors and record.levelno in _LEVEL_COLOURS:
            level = f"{_LEVEL_COLOURS[record.levelno]}{level}{_RESET}"
        return f"{level}:{space}"

    def _traceback(self, record: logging.LogRecord) -> str | None:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text


class AccessFormatter(LineFormatter):
    """``INFO:     127.0.0.1:5000 - "GET /path HTTP/1.1" 200 OK``, exactly as uvicorn writes it."""

    def __init__(self, *, use_colors: bool) -> None:
        super().__init__(use_colors=use_colors)

    def _message(self, record: logging.LogRecord) -> str:
        match record.args:
            case (client, method, path, version, int(status)):
                pass
            case _:
                return super()._message(record)  # not one of uvicorn's
        request = escape(f"{method} {path}")
        return f"{escape(str(client))}{self.opening}{request}{self.closing(str(version), status)}"

    # The parts that are the same for many lines, for who cannot afford a record for each.

    @property
    def beginning(self) -> str:
        """What stands before the client."""
        record = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO"})
        return f"{self._prefix(record)} "

    @property
    def opening(self) -> str:
        """What stands between the client and the method."""
        return f' - "{_BOLD}' if self._use_colors else ' - "'

    def closing(self, version: str, status: int) -> str:
        """What stands behind the path."""
        outcome = f"{status} {_PHRASES.get(status, '')}"
        if not self._use_colors:
            return f' HTTP/{escape(version)}" {outcome}'
        if colour := _STATUS_COLOURS.get(status // 100):
            outcome = f"{colour}{outcome}{_RESET}"
        return f' HTTP/{escape(version)}{_RESET}" {outcome}'


_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
