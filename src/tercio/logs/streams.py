"""Set up logging for the primary and the workers: whole lines, never waiting.

The application's own configuration wins: its loggers and the root logger are not touched. What an
application logs without having configured anything goes where Python would send it, to stderr,
but through the same writer.
"""

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tercio.errors import ConfigError
from tercio.logs.account import AtomsFormatter
from tercio.logs.handler import LineHandler
from tercio.logs.structured import JsonAccessFormatter, JsonFormatter
from tercio.logs.text import TRACE, AccessFormatter, LineFormatter
from tercio.options.logs import LogOptions
from tercio.system import logfile
from tercio.system.identity import Identity
from tercio.system.lines import LineWriter

LEVELS: Final[Mapping[str, int]] = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

ACCESS_LOGGERS: Final = ("tercio.access", "uvicorn.access")

EXIT_WAIT: Final = 0.25  # seconds that the end of the process waits for a stuck reader, a stream


@dataclass(frozen=True, slots=True)
class LogStreams:
    """What `configure` has set up."""

    errors: LineWriter
    access: LineWriter
    handlers: Mapping[str, LineHandler] = field(default_factory=dict)  # by logger
    files: Mapping[str, LineWriter] = field(default_factory=dict)  # by path
    last: "list[Callable[[int], None]]" = field(default_factory=list)
    """Told at the very end how many lines were lost."""

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

    def reopen(self, owner: Identity | None = None) -> list[str]:
        """Open all files by their names again, as after a rotation; return what went wrong.

        A file that cannot be opened goes on under the name that it has now.
        """
        problems = []
        for path, writer in self.files.items():
            try:
                writer.replace(logfile.open_log(path, owner))
            except OSError as error:
                problems.append(f"{path}: {logfile.reason(error)}")
        return problems

    def restore(self) -> None:
        """Wake our loggers up again after the application has configured logging.

        ``dictConfig`` disables all loggers that exist and are not named in it, unless told
        otherwise. A logger that still has our handler was not named.
        """
        for name, handler in self.handlers.items():
            logger = logging.getLogger(name)
            if handler in logger.handlers:
                logger.disabled = False
        if self.handlers.get("tercio") in logging.getLogger("tercio").handlers:
            for name, child in logging.Logger.manager.loggerDict.items():
                if name.startswith("tercio.") and isinstance(child, logging.Logger):
                    child.disabled = child.disabled and name in ACCESS_LOGGERS

    def rename(
        self,
        name: str,
        fields: Mapping[str, object] | None = None,
        keep: Callable[[bytes], None] | None = None,
    ) -> None:
        """Speak for another process: this one is a fork, and who it is is known.

        See `configure` for the arguments.
        """
        JsonFormatter.origin = dict(fields or {})
        self.errors.keep = self.access.keep = keep
        last = [logging.lastResort] if logging.lastResort is not None else []
        for handler in (*self.handlers.values(), *last):
            if isinstance(handler.formatter, LineFormatter):
                handler.formatter.rename(name)

    def finish(self) -> None:
        """The process ends: wait a little for stuck readers, then count what they did not read."""
        self.flush(EXIT_WAIT)
        dropped = self.dropped + self.pending
        for tell in self.last:
            tell(dropped)

    @property
    def _writers(self) -> set[LineWriter]:
        return {self.errors, self.access}


def configure(
    options: LogOptions,
    name: str,
    *,
    fields: Mapping[str, object] | None = None,
    keep: Callable[[bytes], None] | None = None,
    owner: Identity | None = None,
    stdout: int = 1,
    stderr: int = 2,
) -> LogStreams:
    """Send Tercio's and uvicorn's records to stderr, and access lines to stdout, or to files.

    ``name`` is the worker's ("3.7"), or "" in the primary; ``fields`` are what JSON lines say of
    it. ``keep`` gets all lines, too. To be called before the application is imported, so that its
    own configuration comes later and wins. Raises `ConfigError` for a file that cannot be opened.
    """
    number = LEVELS[options.log_level]
    logging.addLevelName(TRACE, "TRACE")
    writers: dict[int | str, LineWriter] = {}
    errors = _writer("error_log_file", options, stderr, writers, owner)
    access = _writer("access_log_file", options, stdout, writers, owner)
    if errors is not access and _same_file(errors.fileno(), access.fileno()):
        access = errors  # one writer for one file keeps the lines of `2>&1` in order
    errors.keep = access.keep = keep
    JsonFormatter.origin = dict(fields or {})
    handler = LineHandler(errors)
    handler.setFormatter(_formatter(options, errors, name))
    handlers = {"tercio": handler, "uvicorn": handler, "uvicorn.error": handler}
    for logger in handlers:
        _install(logger, number, handler)
    if options.access_log:
        access_handler = LineHandler(access)
        access_handler.setFormatter(_access_formatter(options, access))
        handlers |= dict.fromkeys(ACCESS_LOGGERS, access_handler)
    for logger in ACCESS_LOGGERS:
        # Without a handler: who asks hasHandlers() does not even build the record.
        _install(logger, number, handlers.get(logger))
    # Used by logging for records that meet no handler at all. A handler on the root logger would
    # not do: basicConfig() in the application does nothing once there is one.
    last = LineHandler(errors, logging.WARNING)
    last.setFormatter(handler.formatter)
    logging.lastResort = last
    files = {path: writer for path, writer in writers.items() if isinstance(path, str)}
    streams = LogStreams(errors, access, handlers, files)
    atexit.register(streams.finish)
    _current.append(streams)
    return streams


_current: Final[list[LogStreams]] = []


def is_structured() -> bool:
    """Whether this process logs JSON, where one record can say all of an event."""
    formatter = _current[-1].handlers["tercio"].formatter if _current else None
    return isinstance(formatter, JsonFormatter)


def reopen(owner: Identity | None = None) -> tuple[list[str], list[str]]:
    """Open this process' log files again: their paths, and what went wrong with some of them."""
    if not _current:
        return [], []
    streams = _current[-1]
    return list(streams.files), streams.reopen(owner)


def _writer(
    name: str,
    options: LogOptions,
    default: int,
    writers: dict[int | str, LineWriter],
    owner: Identity | None,
) -> LineWriter:
    """The one writer of a place."""
    path: str = getattr(options, name)
    fd = logfile.standard(path, default)
    place: int | str = path if fd is None else fd
    if place not in writers:
        try:
            writers[place] = (
                LineWriter(logfile.open_log(path, owner), is_own=True)
                if fd is None
                else LineWriter(fd)
            )
        except OSError as error:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag} {path}: it cannot be opened; {logfile.reason(error)}"
            ) from error
    return writers[place]


def _formatter(options: LogOptions, writer: LineWriter, name: str) -> logging.Formatter:
    if options.log_format == "json":
        return JsonFormatter()
    return LineFormatter(use_colors=_colours(options.use_colors, writer), name=name)


def _access_formatter(options: LogOptions, writer: LineWriter) -> logging.Formatter:
    if options.log_format == "json":
        return JsonAccessFormatter()
    if options.access_log_format:
        return AtomsFormatter(options.access_log_format)
    return AccessFormatter(use_colors=_colours(options.use_colors, writer))


def _install(name: str, level: int, handler: LineHandler | None) -> None:
    logger = logging.getLogger(name)
    logger.handlers = [handler] if handler else []
    logger.propagate = False
    logger.disabled = False
    logger.setLevel(level)


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
