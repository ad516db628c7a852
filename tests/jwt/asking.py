"""Ask an ASGI application as a client with a token does."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from tercio.jwt import JWTMiddleware, Tokens
from tercio.jwt.middleware import KEY, App


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: App, *authorization: str) -> Answer:
    headers = [(b"authorization", each.encode()) for each in authorization]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, b"".join(each["body"] for each in rest))


async def subject_app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with whose token it was."""
    claims = scope[KEY]
    body = b"nobody" if claims is None else claims.subject.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guarded(tokens: Tokens, *, optional: bool = False) -> JWTMiddleware:
    return JWTMiddleware(subject_app, tokens, optional=optional)


def packed(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unpacked(part: str) -> dict[str, Any]:
    found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert isinstance(found, dict)
    return found
