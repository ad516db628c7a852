"""A Flask extension: ``flask.session`` in the shared state.

app = Flask(__name__)
Tercio(app)

The browser has an opaque id; all workers see one session, and one that was revoked is over for all
of them at once. ``app.extensions["tercio"]`` is the extension, its ``store`` revokes. Everything
else of the cluster is ``from tercio import cluster``: Flask's views are threads, and have
``cluster.sync``.
"""

import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, TypeVar

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin

from tercio.engines.loopthread import LoopThread
from tercio.sessions.cookie import SameSite, SessionCookie
from tercio.sessions.session import Session, Told
from tercio.sessions.store import DAY, SessionStore
from tercio.state.state import State

R = TypeVar("R")

_LIMIT: Final = 30.0
"""Seconds; the state gives up long before that."""


class Tercio:
    """The extension. ``Tercio(app)``, or ``init_app`` for as many applications as you like."""

    def __init__(
        self,
        app: Flask | None = None,
        *,
        idle: float = 14 * DAY,
        max_age: float = 30 * DAY,
        cookie: str = "session",
        path: str = "/",
        domain: str | None = None,
        same_site: SameSite = "lax",
        secure: bool | Literal["auto"] = "auto",
        state: State | None = None,
        store: SessionStore | None = None,
    ) -> None:
        """As `tercio.sessions.SessionMiddleware` takes them. Raises `ConfigError`."""
        self.store: SessionStore = store or SessionStore(state, idle=idle, max_age=max_age)
        self._cookie = SessionCookie(
            cookie, path=path, domain=domain, same_site=same_site, secure=secure
        )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an application its sessions. Flask's own settings of cookies mean nothing then."""
        app.extensions["tercio"] = self
        app.session_interface = SharedSessions(self.store, self._cookie)

    def revoke_all(self, subject: str) -> int:
        """Log somebody out everywhere; how many sessions that ended."""
        return _waited(self.store.revoke_all(subject))


class FlaskSession(Session, SessionMixin):
    """``flask.session``, with ``login(subject)``, ``logout()``, ``rotate()`` and ``subject``.

    It is compared with what was stored, so ``session.modified`` is not needed. How long it lasts
    is said to `Tercio`, and not by ``session.permanent``.
    """

    modified = True
    permanent = True

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether nothing is stored of it yet."""
        return self.is_new

    def change(self, key: str, change: Callable[[Any], Any], default: object = None) -> Any:
        """`Session.change`, waited for: for what parallel requests of one session count."""
        return _waited(super().change(key, change, default))


class SharedSessions(SessionInterface):
    """What Flask asks for a session, and hands it back to."""

    def __init__(self, store: SessionStore, cookie: SessionCookie) -> None:
        self._store = store
        self._cookie = cookie

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """The session of a request; nothing is read before it is looked at, where that is near."""
        sent = [(b"cookie", line.encode("latin-1")) for line in request.headers.getlist("Cookie")]
        session = FlaskSession(self._store, self._cookie.read(sent, is_tls=request.is_secure))
        if session.id is not None and not self._store.is_near:
            _waited(session.load())
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store what was changed, and tell the browser."""
        from flask import request

        if not isinstance(session, FlaskSession) or not session.accessed:
            return
        # What depends on the cookie must not be kept for somebody else (CVE-2023-30861).
        response.vary.add("Cookie")
        told = _waited(session.save()) if session.is_due else Told.NOTHING
        if told is Told.NOTHING:
            return
        if told is Told.COOKIE and session.id is not None:
            line = self._cookie.write(session.id, session.left, is_tls=request.is_secure)
        else:
            line = self._cookie.remove(is_tls=request.is_secure)
        response.headers.add("Set-Cookie", line.decode("latin-1"))
        if not (response.cache_control.no_store or response.cache_control.private):
            response.headers["Cache-Control"] = "no-store"


_threads: dict[int, LoopThread] = {}  # by process: a thread is not forked


def _waited(coroutine: Coroutine[Any, Any, R]) -> R:
    """Its result; a loop beside the threads of the application runs it."""
    thread = _threads.setdefault(os.getpid(), LoopThread("tercio-flask"))
    return thread.run(coroutine, _LIMIT)
