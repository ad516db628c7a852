"""From `logging` to a `LineWriter`."""

import logging

from tercio.logs.account import AtomsFormatter
from tercio.logs.structured import JsonFormatter
from tercio.logs.text import LineFormatter
from tercio.system.lines import LineWriter

_HARMLESS = (LineFormatter, JsonFormatter, AtomsFormatter)
"""Formatters whose control characters are their own."""


class LineHandler(logging.Handler):
    """Sends records to a `LineWriter`. Any formatter will do: what it returns is made harmless."""

    def __init__(self, writer: LineWriter, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.write(
                self.format(record),
                escaped=isinstance(self.formatter, LineFormatter | JsonFormatter),
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
