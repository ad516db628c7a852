"""The log of the primary and of the workers: text or JSON, whole lines, never a reason to wait."""

from tercio.logs.account import Account, AtomsFormatter
from tercio.logs.handler import LineHandler
from tercio.logs.streams import (
    ACCESS_LOGGERS,
    EXIT_WAIT,
    LEVELS,
    LogStreams,
    configure,
    is_structured,
    reopen,
)
from tercio.logs.structured import EVENT, JsonAccessFormatter, JsonFormatter
from tercio.logs.text import TRACE, AccessFormatter, LineFormatter

__all__ = [
    "ACCESS_LOGGERS",
    "EVENT",
    "EXIT_WAIT",
    "LEVELS",
    "TRACE",
    "AccessFormatter",
    "Account",
    "AtomsFormatter",
    "JsonAccessFormatter",
    "JsonFormatter",
    "LineFormatter",
    "LineHandler",
    "LogStreams",
    "configure",
    "is_structured",
    "reopen",
]
