"""Sessions of browsers: a cookie that stands for a token, and a second word against forgery."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tercio.settings.tokens import Token

COOKIE: Final = "tercio_admin"
LASTS: Final = 12 * 3600.0
"""Seconds."""

_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Session:
    """One login. It ends with its token."""

    token: Token
    forgery_word: str
    ends: float


class Sessions:
    """The newest logins."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, token: Token) -> tuple[str, Session]:
        """A new one, and the cookie's value. The oldest goes when there are too many."""
        name = secrets.token_urlsafe(32)
        session = Session(token, secrets.token_urlsafe(32), self._clock() + LASTS)
        self._sessions[name] = session
        if len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        return name, session

    def find(self, name: str) -> Session | None:
        """The session of a cookie, if it has not ended."""
        found = None
        for known, session in self._sessions.items():
            if hmac.compare_digest(known.encode(), name.encode()):
                found = session
        return found if found is not None and found.ends > self._clock() else None

    def end(self, name: str) -> None:
        """Forget one."""
        self._sessions.pop(name, None)
