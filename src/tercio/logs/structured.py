"""Records as JSON: one object a line, the same fields for Tercio, requests and the application."""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Final

from tercio.logs.account import Account
from tercio.redaction import redact, redacted
from tercio.system.lines import LINE_BYTES

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "asctime", "color_message", "message", "taskName", "account",
}  # fmt: skip
"""What every record has, or what is said otherwise here; the rest is the caller's ``extra``."""

EVENT: Final = "tercio_event"
"""In a record: the fields of an event, which have any names, also those that records reserve."""

_CUT_NOTE: Final = 40
_SHORTEST: Final = 200
_FIRST_CUT: Final = ("exception", "stack")


class JsonFormatter(logging.Formatter):
    """``{"time": …, "level": "info", "logger": "shop", "message": …, "slot": 3, "pid": 7, …}``.

    An application's own configuration can use it, too: ``"()": "tercio.logs.JsonFormatter"``. A
    line is at most as long as a pipe takes at once; an exception that is too long is cut in its
    middle, so that the line stays JSON.
    """

    origin: ClassVar[Mapping[str, object]] = {}
    """What all lines of this process say of it."""

    def __init__(self) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
            **JsonFormatter.origin,
        }
        fields.setdefault("pid", record.process)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            fields["exception"] = record.exc_text
        if record.stack_info:
            fields["stack"] = record.stack_info
        extras = record.__dict__.get(EVENT)
        if not isinstance(extras, dict):
            extras = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        for name, value in extras.items():
            if fields.get(name) is None:
                fields[name] = value
        return line(fields)


class JsonAccessFormatter(JsonFormatter):
    """The same of a request, with what became of it."""

    def format(self, record: logging.LogRecord) -> str:
        account = record.__dict__.get("account")
        if isinstance(account, Account):
            return self.line(account)
        match record.args:
            case (str(client), str(method), str(target), str(version), int(status)):
                path, _, query = target.partition("?")
                fields: dict[str, object] = {
                    "time": moment(record.created),
                    "level": "info",
                    "logger": "tercio.access",
                    "message": record.getMessage(),
                    **JsonFormatter.origin,
                    "client": client,
                    "method": method,
                    "path": path,
                    "query": query,
                    "http_version": version,
                    "status": status,
                }
                return line(fields)
        return super().format(record)

    def line(self, account: Account) -> str:
        """The line of a request."""
        fields: dict[str, object] = {
            "time": moment(account.time),
            "level": "info",
            "logger": "tercio.access",
            "message": f'{account.client} - "{account.request_line}" {account.status}',
            **JsonFormatter.origin,
            "client": account.client,
            "method": account.method,
            "path": account.path,
            "query": account.query,
            "http_version": account.version,
            "status": account.status,
            "bytes": account.sent,
            "seconds": round(account.seconds, 6),
            "user_agent": account.header("user-agent"),
        }
        return line(fields)


def moment(seconds: float) -> str:
    """``2026-11-23T07:00:00.123+01:00``: local time with its zone, for Unix seconds."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def line(fields: Mapping[str, object]) -> str:
    """One object in one line, ASCII and without control characters, cut to what a pipe takes."""
    # Before JSON's escapes, which would hide a secret from this, too.
    fields = {name: redacted(value) for name, value in fields.items()}
    text = _dumped(fields)
    if len(text) < LINE_BYTES:
        return text
    shortened = dict(fields)
    texts = {name: _text(value) for name, value in fields.items()}
    for name in (*_FIRST_CUT, *sorted(texts, key=lambda name: -len(texts[name]))):
        value = texts.get(name)
        while isinstance(value, str) and len(value) > _SHORTEST and len(text) >= LINE_BYTES:
            # Escaped, a character may take six bytes: where it does, this goes on.
            kept = max(len(value) - (len(text) - LINE_BYTES) - _CUT_NOTE, _SHORTEST // 2)
            value = _without_middle(value, min(kept, len(value) - _CUT_NOTE))
            shortened[name] = value
            text = _dumped(shortened)
    if len(text) < LINE_BYTES:
        return text
    # There is too much of it: what everybody needs stays.
    known: dict[str, object] = {
        name: _without_middle(str(shortened[name]), _SHORTEST)
        for name in ("time", "level", "logger", "message")
        if name in shortened
    }
    return _dumped({**known, **JsonFormatter.origin, "cut": len(text)})


def _without_middle(text: str, kept: int) -> str:
    if len(text) <= kept:
        return text
    # The end of a traceback says more than its beginning.
    start = kept // 3
    end = len(text) - (kept - start)
    return f"{text[:start]} ... {end - start} characters cut ... {text[end:]}"


def _text(value: object) -> str:
    """What is cut of a value that is too long."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _dumped(fields: Mapping[str, object]) -> str:
    try:
        text = json.dumps(fields, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # Keys that are no text, a ring, NaN: what is no plain value is told as text.
        text = json.dumps({str(name): _plain(value) for name, value in fields.items()})
    return redact(text.replace("\x7f", "\\u007f"))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, str | int) else repr(value)
