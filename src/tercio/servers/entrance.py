"""Let connections in by all listeners of a server, as many as it may hold.

Beyond that nothing is accepted: connections wait in the listener's queue, where another worker
takes them, and this one goes on as soon as one leaves. Nothing spins meanwhile.
"""

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from tercio.servers.acceptor import Acceptor
from tercio.servers.peers import Peers

_SHARE: Final = 0.9
"""Of the open-file limit. The rest is the application's: its database, its files."""

_RETRY: Final = 1.0
"""Seconds without accepting after descriptors or memory ran out, unless a connection leaves."""

_SILENCE: Final = 10.0
"""Seconds between two notes."""


class Entrance:
    """All listeners of one server. It begins closed.

    ``limit`` is the most connections to hold, 0 for a share of the open-file limit; ``held`` says
    how many have a protocol now; ``settled`` is called when none is on its way any more; ``note``
    takes a level and a line for the cluster's events. ``peers`` bounds what one of them may have.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        *,
        limit: int,
        held: Callable[[], int],
        settled: Callable[[], None],
        note: Callable[[str, str], None],
        peers: Peers | None = None,
    ) -> None:
        self._acceptors = [Acceptor(each, protocol, tls, self, peers) for each in listeners]
        self._limit = limit or _share_of_descriptors()
        self._held = held
        self._settled = settled
        self._note = note
        self._noted = -_SILENCE
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._is_full = False  # paused although it is open
        self._retry: asyncio.TimerHandle | None = None
        self._arrivals = 0

    @property
    def listeners(self) -> list[socket.socket]:
        return [acceptor.listener for acceptor in self._acceptors]

    @property
    def arrivals(self) -> int:
        """Connections that are accepted and have no protocol yet, such as TLS handshakes."""
        return self._arrivals

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context of the connections that come from now on; None for no TLS."""
        return self._acceptors[0].tls if self._acceptors else None

    @tls.setter
    def tls(self, context: ssl.SSLContext | None) -> None:
        for acceptor in self._acceptors:
            acceptor.tls = context

    def resume(self) -> None:
        """Accept from now on."""
        self._is_open = True
        self._accept()

    def pause(self) -> None:
        """Accept nothing more; what was accepted arrives."""
        self._is_open = False
        self._wait()
        self._is_full = False

    def look(self) -> None:
        """A connection left: there may be room again."""
        if self._is_full and self._has_room():
            self._accept()

    def adopt(self, connection: socket.socket) -> None:
        """Take a connected socket from elsewhere. It has been let in, so nobody asks for room."""
        self._acceptors[0].take(connection)

    def drop_arrivals(self) -> None:
        """Give up what has not arrived."""
        for acceptor in self._acceptors:
            acceptor.drop_arrivals()

    def fds(self) -> list[int]:
        """The listeners and the sockets of arrivals."""
        return [fd for acceptor in self._acceptors for fd in acceptor.fds()]

    # What acceptors ask and tell

    def has_room(self) -> bool:
        if self._has_room():
            return True
        self._wait()
        self._say(
            f"accepting nothing until a connection leaves: there are {self._count()} "
            "(see --limit-connections)"
        )
        return False

    def ran_out(self, error: OSError) -> None:
        self._wait()
        self._retry = self._loop.call_later(_RETRY, self._accept)
        self._say(
            f"accepting nothing for {_RETRY:g} s, or until a connection leaves: {error.strerror}"
        )

    def arrives(self) -> None:
        self._arrivals += 1

    def arrived(self) -> None:
        self._arrivals -= 1
        self.look()  # it may be gone instead
        if not self._arrivals:
            self._settled()

    def _has_room(self) -> bool:
        return self._count() < self._limit

    def _count(self) -> int:
        return self._held() + self._arrivals

    def _accept(self) -> None:
        self._cancel_retry()
        self._is_full = False
        for acceptor in self._acceptors:
            acceptor.resume()

    def _wait(self) -> None:
        self._cancel_retry()
        self._is_full = True
        for acceptor in self._acceptors:
            acceptor.pause()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _say(self, text: str) -> None:
        now = monotonic()
        if now - self._noted >= _SILENCE:
            self._noted = now
            self._note("warning", text)


def _share_of_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(int(soft * _SHARE), 1) if soft != resource.RLIM_INFINITY else 1 << 30
