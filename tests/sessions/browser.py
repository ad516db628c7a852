"""A browser as far as sessions see one: it keeps cookies, and sends them back."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from tercio.sessions import Session, SessionMiddleware, SessionStore

Handler = Callable[[Session], Awaitable[object]]
Message = MutableMapping[str, Any]


@dataclass
class Answer:
    """What came back."""

    headers: list[tuple[bytes, bytes]]
    said: object

    def all(self, name: bytes) -> list[str]:
        return [value.decode() for key, value in self.headers if key.lower() == name]


@dataclass
class Browser:
    """Calls a handler through the middleware, as one request."""

    store: SessionStore
    cookies: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    scheme: str = "http"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def ask(self, handler: Handler, late: Handler | None = None) -> Answer:
        """One request. ``late`` runs when the answer has begun."""
        said: list[object] = []
        sent: list[Message] = []

        async def app(scope: Message, receive: Any, send: Any) -> None:
            said.append(await handler(scope["session"]))
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            if late is not None:
                await late(scope["session"])
            await send({"type": "http.response.body", "body": b""})

        async def receive() -> Message:
            raise AssertionError("nobody reads a body here")

        async def send(message: Message) -> None:
            sent.append(message)

        line = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "scheme": self.scheme,
            "path": "/",
            "headers": [(b"cookie", line.encode())] if line else [],
        }
        middleware = SessionMiddleware(app, store=self.store, **self.options)
        await middleware(scope, receive, send)
        answer = Answer(sent[0]["headers"], said[0])
        for each in answer.all(b"set-cookie"):
            for name, morsel in SimpleCookie(each).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer


async def look(session: Session) -> dict[str, Any]:
    """A handler that shows all of it."""
    return dict(session.items())


def put(**values: object) -> Handler:
    """A handler that stores something."""

    async def handler(session: Session) -> None:
        session.update(values)

    return handler
