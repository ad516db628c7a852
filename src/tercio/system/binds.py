"""Read what a ``--bind`` value means. No socket is opened and no name is resolved here."""

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from os import fsencode
from typing import assert_never

from tercio.errors import ConfigError

UNIX_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""How long the path of a Unix socket can be: ``sun_path`` without its closing NUL."""

ALLOWED = "HOST:PORT, :PORT, PORT, [IPV6]:PORT, unix:PATH, fd:N or systemd"

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


class BindKind(StrEnum):
    """What kind of place a bind names."""

    NAME = "name"  # a host name: known as IPv4 or IPv6 only once it is resolved
    TCP4 = "tcp4"
    TCP6 = "tcp6"
    UNIX = "unix"
    FD = "fd"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True)
class Bind:
    """One place to listen. `parse_bind` reads ``str(bind)`` back as the same bind."""

    kind: BindKind
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        match self.kind:
            case BindKind.NAME | BindKind.TCP4:
                return f"{self.host}:{self.port}"
            case BindKind.TCP6:
                return f"[{self.host}]:{self.port}"
            case BindKind.UNIX:
                return f"unix:{self.path}"
            case BindKind.FD:
                return f"fd:{self.fd}"
            case BindKind.SYSTEMD:
                return "systemd"
        assert_never(self.kind)

    @property
    def is_tcp(self) -> bool:
        """Whether this names a host and a port."""
        return self.kind in (BindKind.NAME, BindKind.TCP4, BindKind.TCP6)


def parse_bind(text: str) -> Bind:
    """Read one ``--bind`` value; a port alone means every IPv4 interface, as in gunicorn."""
    value = text.strip()
    if value == "systemd":
        return Bind(BindKind.SYSTEMD)
    if value.startswith("unix:"):
        return unix_bind(_without_slashes(value.removeprefix("unix:")))
    if value.startswith("fd:"):
        return _fd_bind(text, _without_slashes(value.removeprefix("fd:")))
    if value.isdecimal():
        return tcp_bind("0.0.0.0", _port(text, value))
    if value.startswith("["):
        host, bracket, port = value[1:].partition("]:")
        if not bracket:
            raise _refused(text, "an IPv6 address needs its port after the bracket")
        if not isinstance(_address(host), IPv6Address):
            raise _refused(text, f"{host!r} is not an IPv6 address")
        return tcp_bind(host, _port(text, port))
    host, colon, port = value.rpartition(":")
    if not colon:
        raise _refused(text, "the port is missing")
    if ":" in host:
        raise _refused(text, "an IPv6 address is written in brackets")
    return tcp_bind(host or "0.0.0.0", _port(text, port))


def tcp_bind(host: str, port: int) -> Bind:
    """Return the bind for a host (a name or an address, IPv6 without brackets) and a port."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} cannot be used: it must be 0 to 65535")
    match _address(host):
        case IPv4Address():
            return Bind(BindKind.TCP4, host=host, port=port)
        case IPv6Address():
            return Bind(BindKind.TCP6, host=host, port=port)
        case None:
            pass
    # "1.2.3" and "300.1.1.1" are mistyped addresses, and a resolver would guess at the first one.
    if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdecimal():
        raise ConfigError(f"host {host!r} cannot be used: it must be an address or a host name")
    return Bind(BindKind.NAME, host=host, port=port)


def unix_bind(path: str) -> Bind:
    """Return the bind for a Unix socket at ``path``."""
    if not path or path.endswith("/"):
        raise ConfigError(f"socket path {path!r} cannot be used: it must name a file")
    if path.startswith("@") or "\0" in path:
        raise ConfigError(
            f"socket path {path!r} cannot be used: an abstract socket has no permissions, "
            f"use a path in the file system"
        )
    check_unix_path(path, "choose a shorter path")
    return Bind(BindKind.UNIX, path=path)


def check_unix_path(path: str, advice: str) -> None:
    """Refuse a path that the kernel's ``sockaddr_un`` cannot hold."""
    length = len(fsencode(path))
    if length > UNIX_PATH_BYTES:
        raise ConfigError(
            f"socket path {path!r} is {length} bytes long, at most {UNIX_PATH_BYTES} are possible: "
            f"{advice}"
        )


def _fd_bind(text: str, number: str) -> Bind:
    if not number.isdecimal() or int(number) > 2**31 - 1:
        raise _refused(text, "a descriptor is a number such as 3")
    return Bind(BindKind.FD, fd=int(number))


def _without_slashes(rest: str) -> str:
    """Accept the URL look too: ``unix:///run/app.sock`` and ``fd://3``."""
    return rest.removeprefix("//")


def _port(text: str, digits: str) -> int:
    if not digits.isdecimal() or not digits.isascii() or int(digits) > 65535:
        raise _refused(text, f"port {digits!r} is not a number from 0 to 65535")
    return int(digits)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(text: str, reason: str) -> ConfigError:
    return ConfigError(f"bind {text!r} cannot be used: {reason}; allowed are {ALLOWED}")
