"""Read what workers say. A worker runs user code, so nothing it sends is taken on trust."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tercio.core import events, inputs
from tercio.core.model import WorkerId
from tercio.errors import ProtocolError
from tercio.primary.jobs import JobNews, news_of
from tercio.redaction import redact

_LARGEST: Final = 2**53

Dump = tuple[int, str]
"""The answer to a dump request: its number and the text."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to the program that launched the cluster; what is in it is not looked at."""

    worker: WorkerId
    body: str

    def to_json(self) -> dict[str, object]:
        """As the control protocol carries it."""
        return {"kind": "Message", "worker": str(self.worker), "body": self.body}


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a message from that program: "" when the worker has it."""

    number: int
    refusal: str


def input_of(
    who: WorkerId, message: Mapping[str, object]
) -> inputs.Input | events.Event | Dump | Letter | Receipt | JobNews:
    """Turn a message into an input for the supervisor, an event, or what somebody waits for.

    Raises `ProtocolError` for an unknown type or a field of the wrong type.
    """
    match message.get("type"):
        case "loaded":
            return inputs.Loaded(who, _text(message, "fingerprint"))
        case "ready":
            return inputs.Ready(who)
        case "failed":
            return inputs.BootFailed(
                who,
                _text(message, "stage"),
                _text(message, "error"),
                _text(message, "traceback"),
            )
        case "replace":
            return inputs.ReplacementAsked(who, f"got {_text(message, 'signal')} from outside")
        case "stuck":
            stuck, threads = _whole(message, "stuck"), _whole(message, "threads")
            return inputs.ReplacementAsked(
                who, f"{stuck} of its {threads} threads are stuck in requests (--timeout-request)"
            )
        case "overdue":
            return events.RequestOverdue(
                who,
                _number(message, "seconds"),
                _text(message, "request"),
                _text(message, "culprit"),
                _text(message, "stack"),
            )
        case "blocked":
            return events.WorkerBlocked(
                who,
                _number(message, "seconds"),
                _text(message, "culprit"),
                _text(message, "stack"),
            )
        case "unblocked":
            return events.WorkerUnblocked(who, _number(message, "seconds"))
        case "cut":
            paths = message.get("paths")
            return inputs.Cut(
                who,
                _whole(message, "requests"),
                _whole(message, "websockets"),
                tuple(str(path) for path in paths[:10]) if isinstance(paths, list) else (),
            )
        case "dump":
            return _whole(message, "id"), _text(message, "text")
        case "letter":
            return Letter(who, _text(message, "body"))
        case "receipt":
            return Receipt(_whole(message, "id"), _text(message, "refusal"))
        case "jobs":
            return news_of(who, message)
        case "note":
            # What a worker bothers to say at another level than "info" is never good news.
            is_news = _text(message, "level") in ("", "info")
            kind = events.WorkerNote if is_news else events.WorkerWarning
            return kind(who, _text(message, "text"))
        case other:
            raise ProtocolError(f"sent a message of an unknown type {str(other)[:40]!r}")


def _text(message: Mapping[str, object], key: str) -> str:
    value = message.get(key, "")
    if not isinstance(value, str):
        raise ProtocolError(f"sent {key!r} that is no text")
    return redact(value)


def _number(message: Mapping[str, object], key: str) -> float:
    value = message.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"sent {key!r} that is no number")
    if not abs(value) < _LARGEST:  # also false for NaN, which Python's JSON lets through
        raise ProtocolError(f"sent {key!r} out of any range")
    return float(value)


def _whole(message: Mapping[str, object], key: str) -> int:
    return int(_number(message, key))
