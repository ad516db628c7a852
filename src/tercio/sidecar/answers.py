"""Answers as ASGI messages, with the headers that each of them has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tercio.http.asgi import Send

_ALWAYS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send, *, with_body: bool = True) -> None:
        """Send it; the answer to a HEAD request is ``with_body=False``."""
        own = {"content-type": self.content_type, "content-length": str(len(self.body))}
        await send(start_of(self.status, {**own, **self.headers}))
        await send({"type": "http.response.body", "body": self.body if with_body else b""})


def start_of(status: int, headers: Mapping[str, str]) -> dict[str, object]:
    """The first message of an answer."""
    pairs = {**_ALWAYS, **headers}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
    }


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(value).encode() + b"\n", headers=headers or {})


def as_text(text: str, status: int = 200) -> Answer:
    """A line for people."""
    return Answer(status, text.encode() + b"\n", "text/plain; charset=utf-8")


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers or {}

    @property
    def answer(self) -> Answer:
        """What is sent."""
        return as_json({"error": str(self)}, self.status, self.headers)
