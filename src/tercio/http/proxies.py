"""Take the client and the scheme from the headers of proxies that are trusted.

Every proxy adds the peer it saw at the right end of X-Forwarded-For, and whatever stands left of
that came from outside. So the list is read from the right: the first address that is not itself a
trusted proxy is the client. What is no address is never a trusted one, and ends the reading too.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from tercio.http.asgi import Scope

_ADDRESS_LENGTH: Final = 64
"""Characters. The longest address with brackets and port has 53, and a zone is no client's."""

_NAME_LENGTH: Final = 253
"""Characters of what is no address and is shown as the client all the same, such as `_hidden`."""

_HOPS: Final = 100
"""Trusted proxies in a row. Only they can bring a longer list; it would cost 20 ms to read."""

_SCHEMES: Final = {
    b"http": ("http", "ws"),
    b"https": ("https", "wss"),
    b"ws": ("http", "ws"),
    b"wss": ("https", "wss"),
}

_MAPPED: Final = IPv6Network("::ffff:0:0/96")

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


class Proxies:
    """The proxies that ``forwarded_allow_ips`` names: addresses, networks, Unix sockets or '*'."""

    def __init__(self, text: str) -> None:
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        self._everyone = "*" in entries
        self._paths = {entry for entry in entries if entry.startswith("/")}
        networks = [_network(entry) for entry in entries if entry != "*" and entry[0] != "/"]
        # A set for single addresses: a list of a hundred proxies costs no more than one.
        self._addresses = {each.network_address for each in networks if each.num_addresses == 1}
        self._networks = [each for each in networks if each.num_addresses > 1]
        # The same few proxies stand in every request.
        self._node = lru_cache(maxsize=1024)(self._parse)

    @property
    def trusts_everyone(self) -> bool:
        return self._everyone

    def trusts(self, host: str | None) -> bool:
        """Whether to believe a peer: its address, or the path of the Unix socket it came by."""
        if self._everyone:
            return True
        if not host:
            return False
        return host in self._paths or self._node(host)[2]

    def apply(self, scope: Scope) -> None:
        """Set ``client`` and ``scheme`` from what a trusted peer sent."""
        proto: bytes | None = None
        lists: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                lists.append(value)
            elif name == b"x-forwarded-proto":
                proto = value  # the last one is the peer's own
        if proto is not None:
            # A list is the same as several lines of one value: its last one is the peer's own.
            schemes = _SCHEMES.get(proto.rpartition(b",")[2].strip())
            if schemes is not None:
                scope["scheme"] = schemes[scope["type"] == "websocket"]
        if lists and (client := self._client(lists)) is not None:
            scope["client"] = client

    def _client(self, lists: Sequence[bytes]) -> tuple[str, int] | None:
        """The first from the right that is not trusted; the leftmost if all of them are."""
        if self._everyone:
            host, port, _ = self._read(lists[0].partition(b",")[0])
            return (host, port) if host else None
        host, port = "", 0
        hops = 0
        for value in reversed(lists):
            end = len(value)
            while end >= 0:
                # Not split(): 64 KiB of commas would become 64,000 objects.
                begin = value.rfind(b",", 0, end)
                host, port, trusted = self._read(value[begin + 1 : end])
                hops += 1
                if not trusted or hops == _HOPS:
                    return (host, port) if host else None
                end = begin
        return (host, port)

    def _read(self, entry: bytes) -> tuple[str, int, bool]:
        entry = entry.strip(b" \t")
        if len(entry) <= _ADDRESS_LENGTH:
            return self._node(entry.decode("latin-1"))
        return (_shown(entry.decode("latin-1")), 0, False)

    def _parse(self, text: str) -> tuple[str, int, bool]:
        """Host, port and whether it is trusted."""
        host, port = _split(text)
        try:
            parsed = ip_address(host)
        except ValueError:
            return (_shown(text), 0, False)
        address = _plain(parsed)
        trusted = address in self._addresses or any(address in each for each in self._networks)
        return (host if address is parsed else str(address), port, trusted)


def _split(text: str) -> tuple[str, int]:
    """Host and port of ``1.2.3.4:80`` and ``[::1]:80``; anything else is all host, or neither."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return text, 0
        if not rest:
            return host, 0
        digits = rest[1:]
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
    else:
        return text, 0
    if digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535:
        return host, int(digits)
    return text, 0


def _plain(address: _Address) -> _Address:
    """The IPv4 address, where a dual-stack socket has wrapped one."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _network(text: str) -> _Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        assert mapped is not None
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _shown(text: str) -> str:
    """What is no address, as the client's name: harmless, and not the proxy's own address.

    An application that lets internal addresses in must not take this client for one.
    """
    if len(text) <= _NAME_LENGTH and text.isascii() and text.isprintable():
        return text
    return "unknown"
