"""The cookie that carries a session's id. Pure: headers in, headers out.

``__Host-`` in front of its name makes browsers refuse one that another host of the same domain, or
a page without TLS, tries to plant (RFC 6265bis, section 4.1.3).
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from tercio.errors import ConfigError
from tercio.sessions.store import is_id

SameSite = Literal["lax", "strict", "none"]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ATTRIBUTE: Final = re.compile(r"[^\x00-\x20;,\x7f]*")
_PREFIXES: Final = ("__Host-", "__Secure-")


class SessionCookie:
    """How it is called, and who gets it."""

    def __init__(
        self,
        name: str = "session",
        *,
        path: str = "/",
        domain: str | None = None,
        same_site: SameSite = "lax",
        secure: bool | Literal["auto"] = "auto",
        persistent: bool = True,
        partitioned: bool = False,
    ) -> None:
        """``secure``: for TLS only, where "auto" goes by the request. Not ``persistent``: the
        browser forgets it when it is closed. Raises `ConfigError`.
        """
        if not _TOKEN.fullmatch(name):
            raise ConfigError(
                f"session cookie {name!r}: expected a name of letters, digits, - or _"
            )
        if not (path.startswith("/") and _ATTRIBUTE.fullmatch(path)):
            raise ConfigError(f"session cookie: path {path!r}: expected one that begins with /")
        if domain is not None and not (domain and _ATTRIBUTE.fullmatch(domain)):
            raise ConfigError(f"session cookie: domain {domain!r}: expected a host's name")
        if same_site not in ("lax", "strict", "none"):
            raise ConfigError(f'session cookie: same_site={same_site!r}: "lax", "strict" or "none"')
        if name.startswith("__Host-") and (path != "/" or domain is not None):
            raise ConfigError(
                f'session cookie {name!r}: browsers take one of that name with the path "/" and '
                "no domain only; leave out __Host-, which is put before it where it may be"
            )
        wants_tls = name.startswith(_PREFIXES) or same_site == "none" or partitioned
        if wants_tls and secure is False:
            raise ConfigError(
                'session cookie: browsers take same_site="none", a partitioned one, and names '
                "with __Host- or __Secure- with secure only"
            )
        self._secure = True if wants_tls else secure
        self._persistent = persistent
        self._plain = name
        self._prefixed = name
        if not name.startswith(_PREFIXES):
            is_host = path == "/" and domain is None
            self._prefixed = ("__Host-" if is_host else "__Secure-") + name
        self._end = f"; Path={path}; HttpOnly; SameSite={same_site.capitalize()}"
        if domain is not None:
            self._end += f"; Domain={domain}"
        if partitioned:
            self._end += "; Partitioned"

    def read(self, headers: Iterable[tuple[bytes, bytes]], *, is_tls: bool) -> str | None:
        """The id in a request's headers, if there is one that could be ours."""
        name = self._name(self._is_secure(is_tls)).encode()
        for header, value in headers:
            if header != b"cookie" or name not in value:
                continue
            for part in value.split(b";"):
                key, _, text = part.strip().partition(b"=")
                if key == name:
                    id = text.strip(b' \t"').decode("latin-1")
                    if is_id(id):  # somebody else's of the same name may come first
                        return id
        return None

    def write(self, id: str, left: float, *, is_tls: bool) -> bytes:
        """The value of a Set-Cookie header; ``left`` seconds are left of the session."""
        age = f"; Max-Age={max(0, int(left))}" if self._persistent else ""
        return self._line(id, age, is_tls)

    def remove(self, *, is_tls: bool) -> bytes:
        """The value of a header that makes the browser forget it."""
        return self._line("", "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT", is_tls)

    def _line(self, value: str, age: str, is_tls: bool) -> bytes:
        is_secure = self._is_secure(is_tls)
        secure = "; Secure" if is_secure else ""
        return f"{self._name(is_secure)}={value}{self._end}{age}{secure}".encode("latin-1")

    def _name(self, is_secure: bool) -> str:
        return self._prefixed if is_secure else self._plain

    def _is_secure(self, is_tls: bool) -> bool:
        return is_tls if self._secure == "auto" else self._secure
