"""Kinds of value that know one subject: addresses, headers, proxies, modes, resource limits."""

import ipaddress
import os
import re
import sys

from tercio import units
from tercio.options.kinds import Kind, Refused, one_of, whole


def target() -> Kind[str]:
    """The application: ``package.module:attribute``, the attribute being optional."""
    allowed = "MODULE:ATTRIBUTE such as 'shop.main:app'"

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        if not raw:
            return raw
        module, _, attribute = raw.partition(":")
        if module.endswith(".py") or "/" in module:
            name = module.removesuffix(".py").strip("./").replace("/", ".")
            shown = f"{name}:{attribute or 'app'}"
            raise Refused(raw, f"that is a file; name the module: {shown!r}")
        if "(" in attribute:
            raise Refused(raw, f"for a factory write {raw.split('(')[0]!r} and add --factory")
        dotted = all(part.isidentifier() for part in module.split("."))
        if not dotted or not all(part.isidentifier() for part in attribute.split(".") if attribute):
            raise Refused(raw)
        if raw.endswith(":") or raw.count(":") > 1:
            raise Refused(raw)
        return raw

    return Kind(parse, allowed, "APP")


def hook() -> Kind[str]:
    """A function: ``package.module:function``."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        module, colon, attribute = raw.partition(":")
        parts = (*module.split("."), *attribute.split("."))
        if not colon or not all(part.isidentifier() for part in parts):
            raise Refused(raw)
        return raw

    return Kind(parse, "MODULE:FUNCTION such as 'shop.hooks:warm_up'", "FUNCTION")


def address() -> Kind[str]:
    """One address to listen on, in the notation that `system.binds` reads."""
    allowed = "HOST:PORT, [IPV6]:PORT, unix:PATH, fd:N or systemd"
    path = unix_path()

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        scheme, _, rest = raw.partition(":")
        # Also as URLs: unix:///run/app.sock and gunicorn's fd://3
        rest = rest.removeprefix("//")
        match scheme:
            case "systemd" if raw == scheme:
                return raw
            case "unix" if rest:
                return f"unix:{path.parse(rest)}"
            case "fd" if re.fullmatch("[0-9]{1,7}", rest, re.ASCII):
                return f"fd:{int(rest)}"
            case "unix" | "fd":
                raise Refused(raw)
            case _:
                return _host_and_port(raw)

    return Kind(parse, allowed, "ADDRESS")


def own_address() -> Kind[str]:
    """One address that is opened here; empty for none."""
    inner = address()
    allowed = "HOST:PORT, [IPV6]:PORT or unix:PATH"

    def parse(raw: object) -> str:
        if raw == "":
            return ""
        text = inner.parse(raw)
        if text == "systemd" or text.startswith("fd:"):
            raise Refused(raw)
        return text

    return Kind(parse, allowed, "ADDR")


def _host_and_port(raw: str) -> str:
    host, colon, port = raw.rpartition(":")
    # A port alone means every IPv4 interface, as in gunicorn.
    if not colon and not raw.isdecimal():
        raise Refused(raw, "the port is missing")
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise Refused(raw, "a port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        _ipv6(raw, host[1:-1])
    elif ":" in host:
        raise Refused(raw, f"an IPv6 address goes in brackets: '[{host}]:{port}'")
    elif host and not _is_host(host):
        raise Refused(raw)
    return f"{host or '0.0.0.0'}:{int(port)}"


def host() -> Kind[str]:
    """A host to listen on: a name or an address, without brackets or a port."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        bare = raw[1:-1] if raw.startswith("[") and raw.endswith("]") else raw
        if ":" in bare:
            _ipv6(raw, bare)
        elif not _is_host(bare):
            raise Refused(raw)
        return bare

    return Kind(parse, "a host name or an IP address", "HOST")


def _is_host(text: str) -> bool:
    # "1.2.3" and "300.1.1.1" are mistyped addresses, and a resolver would guess.
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
    return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", text) is not None


def _ipv6(raw: str, text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise Refused(raw, f"{text!r} is not an IPv6 address") from None


def unix_path() -> Kind[str]:
    """A path for a Unix socket: as long as the kernel's `sockaddr_un` has room for."""
    most = 107 if sys.platform == "linux" else 103
    allowed = "the path of a file, at most 107 bytes (macOS: 103)"

    def parse(raw: object) -> str:
        if not isinstance(raw, str) or any(ord(character) < 32 for character in raw):
            raise Refused(raw)
        if len(os.fsencode(raw)) > most:
            raise Refused(raw, "choose a shorter path")
        if raw.startswith("@"):
            raise Refused(raw, "an abstract socket has no permissions")
        if raw.endswith("/"):
            raise Refused(raw)
        return raw

    return Kind(parse, allowed, "PATH")


def mode() -> Kind[int]:
    """Permissions in octal, as text only: TOML does not tell 660 and 0o660 apart for us."""

    def parse(raw: object) -> int:
        if not isinstance(raw, str) or not re.fullmatch("(0o)?0?[0-7]{3}", raw):
            raise Refused(raw)
        return int(raw.removeprefix("0o"), 8)

    return Kind(
        parse, 'an octal mode in quotes such as "660"', "MODE", lambda value: f"{value:03o}"
    )


def umask() -> Kind[int]:
    """Permissions to take away, written as `mode` is."""
    kind = mode()
    return Kind(kind.parse, 'an octal mask in quotes such as "027"', "MASK", kind.show)


def redis_url() -> Kind[str]:
    """Where a Redis or Valkey server is."""
    allowed = (
        "redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, unix:///PATH, or "
        "redis+sentinel://HOST:PORT[,HOST:PORT]/NAME[/DB]"
    )
    schemes = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        scheme, separator, rest = raw.partition("://")
        if raw and (scheme not in schemes or not separator or not rest):
            raise Refused(raw)
        if any(ord(character) <= 32 or ord(character) == 127 for character in raw):
            raise Refused(raw, "it contains spaces or control characters")
        return raw

    return Kind(parse, allowed, "URL")


def header() -> Kind[str]:
    """One response header, kept as ``Name: value``."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        name, colon, value = raw.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise Refused(raw)
        # A line break here would let a value add headers of its own.
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
            raise Refused(raw, "a value is printable Latin-1 text")
        return f"{name}: {value.strip()}"

    return Kind(parse, "'Name: value'", "HEADER")


def session_key() -> Kind[str]:
    """Where a request names its session."""
    allowed = "header:NAME, query:NAME, cookie:NAME or ip"

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        kind, colon, name = raw.partition(":")
        if raw == "ip":
            return raw
        if kind not in ("header", "query", "cookie") or not colon:
            raise Refused(raw)
        pattern = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+" if kind != "query" else r"[\x21-\x7e]+"
        if not re.fullmatch(pattern, name):
            raise Refused(raw, f"that is no name of a {kind}")
        return raw

    return Kind(parse, allowed, "KEY")


def trusted_proxies() -> Kind[str]:
    """Comma-separated addresses and networks whose forwarded headers are believed."""
    allowed = "IP addresses, networks such as 10.0.0.0/8, paths of Unix sockets, or '*'"

    def parse(raw: object) -> str:
        joined = ",".join(map(str, raw)) if isinstance(raw, list) else raw
        if not isinstance(joined, str):
            raise Refused(raw)
        entries = [entry.strip() for entry in joined.split(",") if entry.strip()]
        for entry in entries:
            if entry == "*" or entry.startswith("/"):
                continue
            try:
                # strict: 10.0.0.1/8 would silently match nothing in uvicorn.
                ipaddress.ip_network(entry)
            except ValueError as error:
                raise Refused(entry, str(error)) from None
        return ",".join(entries)

    return Kind(parse, allowed, "LIST")


def client_certificates() -> Kind[int]:
    """Whether clients must show a certificate, as the number `ssl` uses for it."""
    words = ("none", "optional", "required")

    def parse(raw: object) -> int:
        word = str(raw).strip().lower() if isinstance(raw, str | int) else ""
        if isinstance(raw, bool) or word not in (*words, "0", "1", "2"):
            raise Refused(raw)
        return words.index(word) if word in words else int(word)

    allowed = f"{one_of(words)} (or 0, 1, 2)"
    return Kind(parse, allowed, "|".join(words), lambda value: words[value], choices=words)


def access_format() -> Kind[str]:
    """The line of a request in gunicorn's atoms; `tercio.http.atoms` makes it."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str) or any(ord(character) < 32 for character in raw):
            raise Refused(raw)
        for atom in re.findall(r"%(?:\(([^)]*)\)s|%|.?)", raw.replace("%%", "")):
            if not re.fullmatch(r"[hlutrmUqHsBbfaTDLMp]|\{[^{}]+\}[ioe]", atom):
                raise Refused(raw, f"%({atom})s is no atom" if atom else "'%' begins an atom")
        return raw

    return Kind(parse, "text with gunicorn's atoms such as %(h)s %(s)s %({referer}i)s", "FORMAT")


def resource_limit() -> Kind[str]:
    """One ``NAME=VALUE`` that workers are limited to; `resource_limits` gives the numbers."""
    allowed = "memory=SIZE, nofile=N or cpu=TIME"

    def parse(raw: object) -> str:
        if not isinstance(raw, str):
            raise Refused(raw)
        try:
            _resource_limit(raw)
        except ValueError as error:
            raise Refused(raw, getattr(error, "reason", "")) from None
        return raw

    return Kind(parse, allowed, "NAME=VALUE")


def resource_limits(limits: tuple[str, ...]) -> dict[str, int]:
    """``("memory=1GB", "cpu=1m")`` as ``{"memory": 10**9, "cpu": 60}``; the last one wins."""
    return dict(map(_resource_limit, limits))


def _resource_limit(raw: str) -> tuple[str, int]:
    name, _, value = (part.strip() for part in raw.partition("="))
    match name:
        case "memory":
            limit = units.parse_size(value)
            low = 16 * units.MIB
        case "nofile":
            limit = whole(0, 1 << 30).parse(value)
            low = 64
        case "cpu":
            limit = int(units.parse_duration(value))
            low = 1
        case _:
            raise Refused(raw, f"{name!r} cannot be limited")
    if limit < low:
        raise Refused(raw, f"less than {low} would not let a worker start")
    return name, limit
