"""A Flask extension: ``flask.session`` in the shared state.

app = Flask(__name__)
Tercio(app)

The browser has an opaque id; all workers see one session, and one that was revoked is over for all
of them at once. ``app.extensions["tercio"]`` is the extension, its ``store`` revokes. Everything
else of the cluster is ``from tercio import cluster``: Flask's views are threads, and have
``cluster.sync``.
"""

import logging
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Literal, TypeVar, cast

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin

from tercio.engines.loopthread import LoopThread
from tercio.sessions.cookie import SameSite, SessionCookie
from tercio.sessions.record import Gone
from tercio.sessions.session import Session, Told
from tercio.sessions.store import DAY, SessionStore
from tercio.state.state import State

_log = logging.getLogger("tercio.sessions")

R = TypeVar("R")

_LIMIT: Final = 30.0
"""Seconds; the state gives up long before that."""

_LIFETIME: Final = timedelta(days=31)
"""PERMANENT_SESSION_LIFETIME where nobody has set it."""


class Tercio:
    """The extension. ``Tercio(app)``, or ``init_app`` for as many applications as you like."""

    def __init__(
        self,
        app: Flask | None = None,
        *,
        idle: float = 14 * DAY,
        max_age: float = 30 * DAY,
        cookie: str | None = None,
        path: str | None = None,
        domain: str | None = None,
        same_site: SameSite | None = None,
        secure: bool | Literal["auto"] | None = None,
        persistent: bool = True,
        partitioned: bool | None = None,
        name: str = "",
        state: State | None = None,
        store: SessionStore | None = None,
    ) -> None:
        """As `tercio.sessions.SessionMiddleware` takes them. What is not said of the cookie is as
        Flask's ``SESSION_COOKIE_…`` say. Applications of different ``name`` share no session.
        Raises `ConfigError`.
        """
        self.store: SessionStore = store or SessionStore(
            state, idle=idle, max_age=max_age, name=name
        )
        given = {
            "name": cookie,
            "path": path,
            "domain": domain,
            "same_site": same_site,
            "secure": secure,
            "persistent": persistent,
            "partitioned": partitioned,
        }
        self._options = {key: value for key, value in given.items() if value is not None}
        SessionCookie(**cast("Any", self._options))  # to complain here, not at the first request
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an application its sessions. Its settings are read with its first request."""
        app.extensions["tercio"] = self
        app.session_interface = SharedSessions(self.store, self._options)

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
        """As `Session.change`, in this thread."""
        self._look()
        if (id := self._stored) is None:
            return self._change_here(key, change, default)
        try:
            return self._changed(key, *self._store.change_now(id, key, change, default))
        except Gone:
            return change(self.get(key, default))

    def load(self, *, again: bool = False) -> "FlaskSession":  # type: ignore[override]
        """As `Session.load`, waited for."""
        _waited(super().load(again=again))
        return self

    def save(self) -> Told:  # type: ignore[override]
        """As `Session.save`, waited for."""
        return _waited(super().save())

    def _look(self) -> None:
        if not self._is_loaded and not self._store.is_near:
            self.accessed = True
            self.load()
        super()._look()


class SharedSessions(SessionInterface):
    """What Flask asks for a session, and hands it back to."""

    def __init__(self, store: SessionStore, options: dict[str, Any]) -> None:
        self._store = store
        self._options = options
        self._cookie: SessionCookie | None = None

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """The session of a request; nothing is read before it is looked at."""
        if self._cookie is None:
            self._cookie = self._cookie_of(app)
        sent = [(b"cookie", line.encode("latin-1")) for line in request.headers.getlist("Cookie")]
        return FlaskSession(self._store, self._cookie.read(sent, is_tls=request.is_secure))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store what was changed, and tell the browser."""
        from flask import request

        cookie = self._cookie
        if not isinstance(session, FlaskSession) or not session.accessed or cookie is None:
            return
        # What depends on the cookie must not be kept for somebody else (CVE-2023-30861).
        response.vary.add("Cookie")
        told = session.save() if session.is_due else Told.NOTHING
        if told is Told.NOTHING:
            return
        if told is Told.COOKIE and session.id is not None:
            line = cookie.write(session.id, session.left, is_tls=request.is_secure)
        else:
            line = cookie.remove(is_tls=request.is_secure)
        response.headers.add("Set-Cookie", line.decode("latin-1"))
        if not (response.cache_control.no_store or response.cache_control.private):
            response.headers["Cache-Control"] = "no-store"

    def _cookie_of(self, app: Flask) -> SessionCookie:
        if app.permanent_session_lifetime != _LIFETIME:
            _log.warning(
                "PERMANENT_SESSION_LIFETIME means nothing to sessions in the shared state: say "
                "Tercio(app, idle=…, max_age=…), in seconds"
            )
        settings = {
            "name": self.get_cookie_name(app),
            "path": self.get_cookie_path(app),
            "domain": self.get_cookie_domain(app),
            "same_site": (self.get_cookie_samesite(app) or "lax").lower(),
            # False is what it is when nobody has said anything.
            "secure": self.get_cookie_secure(app) or "auto",
            "partitioned": bool(app.config.get("SESSION_COOKIE_PARTITIONED")),
        }
        return SessionCookie(**(settings | self._options))


_threads: dict[str, LoopThread] = {}


def _waited(coroutine: Coroutine[Any, Any, R]) -> R:
    """Its result; a loop beside the threads of the application runs it."""
    thread = _threads.get(_NAME) or _threads.setdefault(_NAME, LoopThread(_NAME))
    return thread.run(coroutine, _LIMIT)


_NAME: Final = "tercio-flask"
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)  # a thread is not forked
