"""Set up logging for the primary and the workers: uvicorn's look, whole lines, never waiting.

The application's own configuration wins: its loggers and the root logger are not touched. What an
application logs without having configured anything goes where Python would send it, to stderr,
but through the same writer.
"""

import atexit
import http
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tercio.errors import ConfigError
from tercio.system.lines import LineWriter, escape

TRACE = 5
LEVELS: Mapping[str, int] = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

ACCESS_LOGGERS = ("tercio.access", "uvicorn.access")

EXIT_WAIT = 0.25  # seconds that the end of the process waits for a stuck reader, a stream

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

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = self._message(record).split("\n")
        lines = [f"{self._prefix(record)} {self._tag}{first}"]
        for detail in (self._traceback(record), record.stack_info):
            if detail:
                rest.extend(escape(line) for line in detail.rstrip("\n").split("\n"))
        lines.extend(f"    {line}" if _LOOKS_LIKE_A_RECORD.match(line) else line for line in rest)
        return "\n".join(lines)

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


class LineHandler(logging.Handler):
    """Sends records to a `LineWriter`. Any formatter will do: what it returns is made harmless."""

    def __init__(self, writer: LineWriter, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.write(
                self.format(record), escaped=isinstance(self.formatter, LineFormatter)
            )
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        # logging's own would print to sys.stderr, and wait for its reader.
        self.writer.write(
            f"ERROR:    a log record cannot be formatted: {record.msg!r} with {record.args!r} "
            f"({record.pathname}:{record.lineno})"
        )

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        # The writer stays open: dictConfig() closes the handlers of everybody, ours included,
        # although they go on being used.
        self.writer.flush()
        super().close()


@dataclass(frozen=True, slots=True)
class LogStreams:
    """What `configure` has set up."""

    errors: LineWriter
    access: LineWriter
    handlers: Mapping[str, LineHandler] = field(default_factory=dict)  # by logger

    @property
    def dropped(self) -> int:
        """How many lines were lost because nobody read them in time."""
        return sum(writer.dropped for writer in self._writers)

    @property
    def pending(self) -> int:
        """How many lines wait for their reader."""
        return sum(writer.pending for writer in self._writers)

    def flush(self, timeout: float = 0.0) -> bool:
        """Write what is pending, for at most ``timeout`` seconds a stream; True if that was all."""
        outcomes = [writer.flush(timeout) for writer in self._writers]  # each gets its time
        return all(outcomes)

    def restore(self) -> None:
        """Wake our loggers up again after the application has configured logging.

        ``dictConfig`` disables all loggers that exist and are not named in it, unless told
        otherwise. A logger that still has our handler was not named.
        """
        for name, handler in self.handlers.items():
            logger = logging.getLogger(name)
            if handler in logger.handlers:
                logger.disabled = False

    @property
    def _writers(self) -> set[LineWriter]:
        return {self.errors, self.access}


def configure(
    level: str | int,
    access_log: bool,
    use_colors: bool | None,
    name: str,
    *,
    stdout: int = 1,
    stderr: int = 2,
) -> LogStreams:
    """Send Tercio's and uvicorn's records to stderr, and access lines to stdout.

    ``name`` is the worker's ("3.7"), or "" in the primary. To be called before the application is
    imported, so that its own configuration comes later and wins.
    """
    number = _level(level)
    logging.addLevelName(TRACE, "TRACE")
    errors = LineWriter(stderr)
    # One writer for one file keeps the lines of `2>&1` in order.
    access = errors if _same_file(stdout, stderr) else LineWriter(stdout)
    handler = LineHandler(errors)
    handler.setFormatter(LineFormatter(use_colors=_colours(use_colors, errors), name=name))
    handlers = {"tercio": handler, "uvicorn": handler, "uvicorn.error": handler}
    for logger in handlers:
        _install(logger, number, handler)
    if access_log:
        access_handler = LineHandler(access)
        access_handler.setFormatter(AccessFormatter(use_colors=_colours(use_colors, access)))
        handlers |= dict.fromkeys(ACCESS_LOGGERS, access_handler)
    for logger in ACCESS_LOGGERS:
        # Without a handler: who asks hasHandlers() does not even build the record.
        _install(logger, number, handlers.get(logger))
    # Used by logging for records that meet no handler at all. A handler on the root logger would
    # not do: basicConfig() in the application does nothing once there is one.
    last = LineHandler(errors, logging.WARNING)
    last.setFormatter(handler.formatter)
    logging.lastResort = last
    streams = LogStreams(errors, access, handlers)
    atexit.register(streams.flush, EXIT_WAIT)
    return streams


def _install(name: str, level: int, handler: LineHandler | None) -> None:
    logger = logging.getLogger(name)
    logger.handlers = [handler] if handler else []
    logger.propagate = False
    logger.disabled = False
    logger.setLevel(level)


def _level(level: str | int) -> int:
    if isinstance(level, int):
        return level
    number = LEVELS.get(level.lower())
    if number is None:
        raise ConfigError(f"log level {level!r} is not known: allowed are {', '.join(LEVELS)}")
    return number


def _colours(wish: bool | None, writer: LineWriter) -> bool:
    if wish is not None:
        return wish
    # https://no-color.org: set to anything but the empty string
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return writer.is_terminal and not plain


def _same_file(first: int, second: int) -> bool:
    try:
        return os.path.sameopenfile(first, second)
    except OSError:
        return False
