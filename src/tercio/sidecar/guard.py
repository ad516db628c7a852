"""Decide who may ask the admin API for what. It knows requests and tokens, and no cluster.

The order is that of the threats: a name that is not ours (DNS rebinding), a page of another site
(forgery), then the token and its scope.
"""

import hmac
import ipaddress
import logging
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from tercio.http.asgi import Scope
from tercio.settings.tokens import SCOPES, Token, find
from tercio.sidecar.answers import Refused
from tercio.sidecar.failures import Failures
from tercio.sidecar.health import header
from tercio.sidecar.routes import Route
from tercio.sidecar.sessions import COOKIE, Session, Sessions
from tercio.sidecar.tokens import Tokens

FORGERY_HEADER: Final = b"x-tercio-csrf"

_JUDGED: Final = frozenset(
    {b"authorization", b"content-type", b"cookie", b"origin", b"sec-fetch-site", FORGERY_HEADER}
)
"""Headers of which two could be read in two ways."""

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_log = logging.getLogger("tercio")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``token`` is None for one who needs none."""

    peer: str
    token: Token | None

    @property
    def name(self) -> str:
        """For the log."""
        return f"{self.peer} ({self.token.scope if self.token else 'no'} token)"


class Guard:
    """The rules of one address."""

    def __init__(
        self,
        tokens: Tokens,
        names: Collection[str],
        clock: Callable[[], float],
        *,
        reads_freely: bool,
    ) -> None:
        """``reads_freely``: no token is needed to read, as only this machine can ask."""
        self.sessions = Sessions(clock)
        self._tokens = tokens
        self._names = {"localhost", *(name.lower() for name in names)}
        self._reads_freely = reads_freely
        self._failures = Failures(clock)

    async def admit(self, scope: Scope, route: Route) -> Visitor:
        """Let a request pass, or raise `Refused`. Raises as `Tokens.look` does."""
        self.check_site(scope, is_change=route.is_change)
        if route.is_change or header(scope, b"authorization") or header(scope, b"cookie"):
            await self._tokens.look()
        peer = _peer(scope)
        if not route.scope:
            return Visitor(peer, None)
        token = self._token(scope, route, peer)
        if token is None:
            if self._reads_freely and route.scope == "read" and not route.is_change:
                return Visitor(peer, None)
            raise Refused(401, "a token is needed", {"www-authenticate": "Bearer"})
        if SCOPES.index(token.scope) < SCOPES.index(route.scope):
            raise Refused(403, f"a token with the scope {route.scope} is needed")
        return Visitor(peer, token)

    async def is_still_welcome(self, visitor: Visitor) -> bool:
        """Whether the token of somebody who stays is still in the file."""
        if visitor.token is None:
            return True
        await self._tokens.look()
        return visitor.token in self._tokens.known

    def check_host(self, scope: Scope) -> None:
        """Refuse a name that is not ours: a page of that name would read our answers."""
        match = _HOST.fullmatch(header(scope, b"host"))
        name = match["name"].lower().rstrip(".") if match else ""
        if name not in self._names and not _is_address(name.strip("[]")):
            raise Refused(421, "this name is not known here (see --admin-host)")

    def check_site(self, scope: Scope, *, is_change: bool) -> None:
        """Refuse what a page of another site has sent."""
        self.check_host(scope)
        names = [name for name, _ in scope["headers"] if name in _JUDGED]
        if len(names) != len(set(names)):
            raise Refused(400, "a header is there twice")
        site = header(scope, b"sec-fetch-site")
        origin = header(scope, b"origin")
        if site and site != "same-origin" and (is_change or site != "none"):
            raise Refused(403, "a page of another site asked for this")
        if origin and origin.partition("://")[2].lower() != header(scope, b"host").lower():
            raise Refused(403, "a page of another origin asked for this")
        if not is_change:
            return
        if header(scope, b"content-type").partition(";")[0].strip() != "application/json":
            raise Refused(415, "a change is asked for with application/json")

    def log_in(self, scope: Scope, secret: str) -> tuple[str, Session]:
        """Begin a session. Raises `Refused`."""
        return self.sessions.begin(self._judged(secret.encode(), _peer(scope)))

    def log_out(self, scope: Scope) -> None:
        """End the session of a request."""
        self.sessions.end(_cookie(scope))

    def _token(self, scope: Scope, route: Route, peer: str) -> Token | None:
        kind, _, secret = header(scope, b"authorization").partition(" ")
        if kind:
            if kind.lower() != "bearer":
                raise Refused(401, "a bearer token is needed", {"www-authenticate": "Bearer"})
            return self._judged(secret.strip().encode("latin-1"), peer)
        session = self.sessions.find(_cookie(scope))
        if session is None or session.token not in self._tokens.known:
            return None
        if route.is_change:
            # A browser says where a page is from; what does not is none, and has no cookie.
            if not header(scope, b"sec-fetch-site") and not header(scope, b"origin"):
                raise Refused(403, "with a cookie the origin must be said")
            word = header(scope, FORGERY_HEADER).encode("latin-1")
            if not hmac.compare_digest(word, session.forgery_word.encode()):
                raise Refused(403, "with a cookie X-Tercio-CSRF must be sent, as login gave it")
        return session.token

    def _judged(self, secret: bytes, peer: str) -> Token:
        # A right token passes at any time: who shares an address with somebody that guesses, or has
        # a proxy in common, is not to be kept out by that. It has 128 bits and more to guess.
        token = find(self._tokens.known, secret)
        if token is None:
            if wait := self._failures.wait(peer):
                seconds = str(math.ceil(wait))
                raise Refused(429, "too many wrong tokens", {"retry-after": seconds})
            self._failures.count(peer)
            _log.warning("admin: a wrong token from %s", peer)
            raise Refused(401, "this token is wrong", {"www-authenticate": "Bearer"})
        return token


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client and client[0] else "unix"


def _cookie(scope: Scope) -> str:
    try:
        found = SimpleCookie(header(scope, b"cookie")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
