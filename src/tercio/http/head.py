"""Judge the head of a request where llhttp leaves a question open. Pure.

llhttp, in its strict mode, refuses by itself: bare line ends, folded lines, spaces before a colon,
control characters, Content-Length twice or beside Transfer-Encoding, and bad chunks.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from tercio.http.kept import keep

METHODS: Final = {
    name.encode(): name
    for name in [
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "COPY", "LOCK"),
        *("MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND"),
        *("UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY"),
        *("SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "LINK", "UNLINK", "QUERY"),
    ]
}
"""What is served: llhttp's methods without CONNECT, and without those of RTSP and ICE, which it
takes with versions of their own that it does not tell."""

HOST: Final = 1
CONNECTION: Final = 2
OTHERS: Final = 4
"""Bits for the fields that a head has; `OTHERS` are seldom, and need a closer look."""

SPECIAL: Final = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"transfer-encoding": OTHERS,
    b"expect": OTHERS,
    b"upgrade": OTHERS,
    b"x-forwarded-for": OTHERS,
    b"x-forwarded-proto": OTHERS,
}

# A registered name, an IPv4 address or an IPv6 address in brackets, and a port (RFC 3986, 3.2.2).
# Empty is allowed: what a client sends whose target has no authority (RFC 9112, 3.2).
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[^\]\s]+\])(?::[0-9]*)?"
)


class BadRequest(Exception):
    """A request that is refused. ``text`` is for the client."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


names: dict[bytes, tuple[bytes, int]] = {}
"""Names as they came, in lower case and with their bits; see `learn`."""


def learn(name: bytes) -> tuple[bytes, int]:
    """What `names` has for a name, or will have: clients send the same few over and over."""
    lower = name.lower()
    found = (lower, SPECIAL.get(lower, 0))
    keep(names, name, len(name), found)
    return found


hosts: dict[bytes, None] = {}
"""Values of Host that `check_host` found to be good."""


def check_host(value: bytes) -> None:
    """Raises `BadRequest` for what can be no host."""
    if _HOST.fullmatch(value) is None:
        raise BadRequest(400, "The request's Host can be none.")
    keep(hosts, value, len(value), None)


def check_version(version: str) -> None:
    """llhttp takes 0.9 and 2.0, too."""
    if version not in ("1.1", "1.0"):
        raise BadRequest(400, f"HTTP/{version} is not spoken here.")


targets: dict[bytes, tuple[str, bytes, bytes]] = {}
"""What `split_target` made of targets that any method may have."""


def split_target(target: bytes, method: str) -> tuple[str, bytes, bytes]:
    """Path, raw path and query of a request's target in any form but that of CONNECT."""
    if b"#" in target:
        raise BadRequest(400, "A request's target has no fragment.")
    raw, _, query = target.partition(b"?")
    if not raw.startswith(b"/"):
        if target == b"*" and method == "OPTIONS":
            return "*", b"*", b""
        raw, query = _of_absolute(target)
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest(400, "A request's target is ASCII.") from None
    found = (unquote(path) if "%" in path else path), raw, query
    keep(targets, target, len(target), found)
    return found


def _of_absolute(target: bytes) -> tuple[bytes, bytes]:
    try:
        parts = urlsplit(target)
        is_web = parts.scheme.lower() in (b"http", b"https") and bool(parts.netloc)
    except ValueError:  # brackets that do not match
        is_web = False
    if not is_web:
        raise BadRequest(400, "The request's target is none that a server takes.")
    # Not urlsplit's path: it strips characters, and a server must not see another path.
    _, _, rest = target.partition(b"://")
    _, slash, rest = rest.partition(b"/")
    raw, _, query = (slash + rest).partition(b"?")
    if not slash:
        return b"/", parts.query
    return raw, query


def check(
    version: str, headers: list[tuple[bytes, bytes]], *, has_host: bool
) -> tuple[bool, bytes | None]:
    """Judge the seldom fields: whether a 100 is expected, and what to upgrade to."""
    expects_continue = False
    upgrade = None
    for name, value in headers:
        if name == b"transfer-encoding":
            if version == "1.0":
                raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding.")
            if value.lower() != b"chunked":
                raise BadRequest(501, "The only transfer coding known here is chunked.")
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise BadRequest(417, "The only expectation known here is 100-continue.")
            expects_continue = version == "1.1"
        elif name == b"upgrade":
            upgrade = value.lower()
    if version == "1.1" and not has_host:
        raise BadRequest(400, "A request names its host once.")
    return expects_continue, upgrade
