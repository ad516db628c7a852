"""Count connections by the address they come from, and refuse those of a peer that has too many.

It goes by what the kernel says, never by a header. One peer is an IPv4 address, or an IPv6 network
of 64 bits, which is what one customer has at the least. Who comes over a Unix socket has none.
"""

import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Final

from tercio.http.proxies import Proxies

_SILENCE: Final = 10.0
"""Seconds between two notes."""

_MAPPED: Final = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that came over a socket of IPv6."""

Key = str | bytes


class Peers:
    """Of one server.

    ``limit`` is the most connections of one peer. Who is among ``trusted`` may have any number: it
    speaks for many clients. ``refused`` is called for each connection that is refused, ``note``
    takes a level and a line for the cluster's events.
    """

    def __init__(
        self,
        limit: int,
        trusted: Proxies,
        refused: Callable[[], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._limit = limit
        self._trusted = trusted
        self._refused = refused
        self._note = note
        self._held: dict[Key, int] = {}
        self._noted = -_SILENCE
        self._unsaid = 0

    def __len__(self) -> int:
        """How many peers there are."""
        return len(self._held)

    def admit(self, host: str) -> Key | None:
        """Count a connection from ``host``; the key to `leave` with, None if it is refused."""
        key = _key(host) if ":" in host else host
        held = self._held.get(key, 0)
        if held >= self._limit and not self._trusted.trusts(host):
            self._refuse(host)
            return None
        self._held[key] = held + 1
        return key

    def count(self, host: str) -> Key:
        """Count a connection that another worker has let in; the key to `leave` with."""
        key = _key(host) if ":" in host else host
        self._held[key] = self._held.get(key, 0) + 1
        return key

    def leave(self, key: Key) -> None:
        """One of its connections is closed."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]

    def _refuse(self, host: str) -> None:
        self._refused()
        self._unsaid += 1
        now = monotonic()
        if now - self._noted >= _SILENCE:
            self._noted = now
            others = f"; {self._unsaid} since the last note" if self._unsaid > 1 else ""
            self._unsaid = 0
            self._note(
                "warning",
                f"closed a connection of {host}, which has {self._limit} "
                f"(see --limit-peer-connections){others}",
            )


class Counted(socket.socket):
    """A connection that gives its place back when it is closed, by whichever loop."""

    place: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        self._give_back()

    def detach(self) -> int:
        """What uvloop does instead of closing: it closes the descriptor by itself."""
        descriptor = super().detach()
        self._give_back()
        return descriptor

    def _give_back(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            place()


def turn_away(connection: socket.socket) -> None:
    """Close it with a reset: who is refused leaves nothing behind in the kernel."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    connection.close()


_NO_LINGER: Final = struct.pack("ii", 1, 0)


def _key(host: str) -> Key:
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if address.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return address[:8]
