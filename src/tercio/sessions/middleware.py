"""Give each request of an ASGI application its session, and the browser its cookie."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal

from tercio.errors import ConfigError
from tercio.sessions.cookie import SameSite, SessionCookie
from tercio.sessions.session import Session, Told
from tercio.sessions.store import DAY, SessionStore
from tercio.state.state import State

_log = logging.getLogger("tercio.sessions")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Load = Literal["auto", "explicit"]

_TLS: Final = frozenset({"https", "wss"})
_FIRST: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
"""Messages that can carry a cookie."""


class SessionMiddleware:
    """``request.session`` of Starlette and FastAPI, kept in the shared state.

    The browser has an opaque id, all workers see one session, and a session that was revoked is
    over for all of them at once.
    """

    def __init__(
        self,
        app: App,
        *,
        idle: float = 14 * DAY,
        max_age: float = 30 * DAY,
        cookie: str = "session",
        path: str = "/",
        domain: str | None = None,
        same_site: SameSite = "lax",
        secure: bool | Literal["auto"] = "auto",
        persistent: bool = True,
        partitioned: bool = False,
        load: Load = "auto",
        name: str = "",
        state: State | None = None,
        store: SessionStore | None = None,
    ) -> None:
        """See `SessionStore` for ``idle``, ``max_age``, ``name`` and ``state``; `SessionCookie` for
        the cookie. ``load``: with "auto" a session can be used at once; where a server keeps it, it
        is read before each request that brings a cookie. With "explicit" that is up to
        ``await request.session.load()``. Raises `ConfigError`.
        """
        if load not in ("auto", "explicit"):
            raise ConfigError(f'sessions: load={load!r}: expected "auto" or "explicit"')
        self.app = app
        self.store: SessionStore = store or SessionStore(
            state, idle=idle, max_age=max_age, name=name
        )
        self._loads = load == "auto"
        self._cookie = SessionCookie(
            cookie,
            path=path,
            domain=domain,
            same_site=same_site,
            secure=secure,
            persistent=persistent,
            partitioned=partitioned,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        is_tls = scope.get("scheme") in _TLS
        session = Session(self.store, self._cookie.read(scope["headers"], is_tls=is_tls))
        if session.id is not None and self._loads and not self.store.is_near:
            await session.load()
        scope["session"] = session
        is_told = False

        async def tell(message: Message) -> None:
            nonlocal is_told
            if not is_told and message["type"] in _FIRST:
                if session.accessed:
                    told = await session.save()
                    message["headers"] = self._headers(message, session, told, is_tls)
                is_told = True
            await send(message)

        try:
            await self.app(scope, receive, tell)
        finally:
            if session.accessed and session.is_changed:
                await self._save_late(session, scope, is_told)

    def _headers(
        self, message: Message, session: Session, told: Told, is_tls: bool
    ) -> list[tuple[bytes, bytes]]:
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
        # What depends on the cookie must not be kept for somebody else (CVE-2023-30861).
        headers = with_vary(headers)
        if told is Told.NOTHING:
            return headers
        if told is Told.COOKIE and session.id is not None:
            line = self._cookie.write(session.id, session.left, is_tls=is_tls)
        else:
            line = self._cookie.remove(is_tls=is_tls)
        return [*without_caching(headers), (b"set-cookie", line)]

    async def _save_late(self, session: Session, scope: Scope, is_told: bool) -> None:
        """What was changed after the answer began: in a stream, a WebSocket, a background task."""
        if not is_told:
            return  # there was no answer: an error, which undoes what the request meant to do
        if session.id is None:
            _log.warning(
                "a session begun after the answer to %s began cannot be told to the browser; "
                "store something in request.session before",
                scope.get("path"),
            )
            return
        await session.save()


def with_vary(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, with ``Vary: Cookie`` among them."""
    named = b",".join(value for name, value in headers if name.lower() == b"vary").lower()
    words = {word.strip() for word in named.split(b",")}
    return headers if words & {b"cookie", b"*"} else [*headers, (b"vary", b"Cookie")]


def without_caching(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that no cache may keep, as it carries somebody's id."""
    named = b",".join(value for name, value in headers if name.lower() == b"cache-control").lower()
    words = {word.strip() for word in named.split(b",")}
    if words & {b"no-store", b"private"}:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() != b"cache-control"]
    return [*kept, (b"cache-control", b"no-store")]
