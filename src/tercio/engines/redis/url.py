"""Read where a Redis or Valkey server is and how to talk to it from a URL. Connects to nothing.

redis://[USER:PASSWORD@]HOST[:PORT][/DB]            rediss://… is TLS
unix://[USER:PASSWORD@]/PATH/OF/SOCKET[?db=N]
redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST:PORT…]/NAME[/DB]
"""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote

from tercio import units
from tercio.errors import ConfigError

_SCHEMES: Final = {
    "redis": 6379,
    "rediss": 6379,
    "unix": 0,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or the sentinels that know it."""

    hosts: tuple[tuple[str, int], ...] = ()
    """Where the server is, or its sentinels."""
    path: str = ""
    """The Unix socket, instead of ``hosts``."""
    service: str = ""
    """What the sentinels call the master; empty without sentinels."""
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    timeout: float = 1.0
    """Seconds that a command, or an attempt to connect, may take."""
    max_reply: int = 64 << 20
    """Bytes of the largest reply that is taken from the server."""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: bool = False
    ssl_ca_certs: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True

    def __str__(self) -> str:
        """Where it is, without names and passwords: for messages."""
        if self.path:
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a URL. Raises `ConfigError`, without repeating the URL: it may hold a password."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _SCHEMES:
            _refuse(f"it begins with one of {', '.join(f'{known}://' for known in _SCHEMES)}")
        rest, _, query = rest.partition("?")
        credentials, at, place = rest.rpartition("@")
        user, colon, password = credentials.partition(":")
        found: dict[str, object] = _options(query)
        if at:
            # redis-py reads "redis://:secret@host"; without a colon it is a name alone.
            found |= {"user": unquote(user)} | ({"password": unquote(password)} if colon else {})
        if scheme == "unix":
            if not place.startswith("/"):
                _refuse("a Unix socket has an absolute path: unix:///PATH")
            return cls(path=unquote(place), **found)  # type: ignore[arg-type]
        listed, *parts = place.split("/")
        found["hosts"] = tuple(_host(one, _SCHEMES[scheme]) for one in listed.split(","))
        if scheme.endswith("+sentinel"):
            if not parts or not parts[0]:
                _refuse("it names the master after the sentinels: redis+sentinel://HOST:PORT/NAME")
            found["service"] = unquote(parts.pop(0))
        elif "," in listed:
            _refuse("several hosts are sentinels: redis+sentinel://HOST:PORT,HOST:PORT/NAME")
        if parts and parts[0]:
            found["db"] = _database(parts.pop(0))
        if any(parts):
            _refuse("nothing comes after the number of the database")
        return cls(tls=scheme.startswith("rediss"), **found)  # type: ignore[arg-type]

    def tls_context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with, None for none. Raises `ConfigError` for unusable files."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_certs or None)
            if self.ssl_certfile:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile or None)
        except (OSError, ssl.SSLError) as error:
            files = (self.ssl_ca_certs, self.ssl_certfile, self.ssl_keyfile)
            named = ", ".join(file for file in files if file)
            raise ConfigError(f"--redis: {named or 'certificates'}: {error}") from error
        if self.ssl_cert_reqs == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.check_hostname = self.ssl_check_hostname
        return context


def _refuse(reason: str) -> NoReturn:
    raise ConfigError(f"--redis is no address of a server: {reason}")


def _host(text: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]+))(?::([0-9]{1,5}))?", text)
    if not found:
        _refuse("a host is HOST, HOST:PORT or [IPV6]:PORT; in a password, write ?, / and @ as %XX")
    port = int(found[3]) if found[3] else default
    if not 0 < port < 65536:
        _refuse("a port is 1 to 65535")
    return found[1] or unquote(found[2]), port


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        _refuse("what follows the host is the number of a database")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = units.parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 60:
        _refuse("timeout is 10ms to 60s")
    return seconds


def _size(text: str) -> int:
    try:
        size = units.parse_size(text)
    except ValueError:
        size = 0
    if size < 64 << 10:
        _refuse("max_reply is a size of at least 64KiB")
    return size


def _switch(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        _refuse("ssl_check_hostname is true or false")
    return words[text.lower()]


def _reqs(text: str) -> str:
    if text not in ("required", "none"):
        _refuse("ssl_cert_reqs is required or none")
    return text


_OPTIONS: Final[dict[str, Callable[[str], object]]] = {
    "db": _database,
    "timeout": _seconds,
    "max_reply": _size,
    "sentinel_user": str,
    "sentinel_password": str,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_cert_reqs": _reqs,
    "ssl_check_hostname": _switch,
}


def _options(query: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            _refuse(f"its options are {', '.join(_OPTIONS)}")
        found[name] = _OPTIONS[name](value)
    return found
