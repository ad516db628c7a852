"""Let connections in by all listeners of a server, as many as it may hold.

Beyond that nothing is accepted: connections wait in the listener's queue, where another worker
takes them, and this one goes on as soon as one leaves. Nothing spins meanwhile.

A listener that all workers share is accepted from in turns: see `Turns`.
"""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Final, Protocol

from tercio.servers.acceptor import Acceptor, Arrival
from tercio.servers.peers import Peers

_SHARE: Final = 0.9
"""Of the descriptors that are free at the start. The rest is the application's: its files."""

_RETRY: Final = 1.0
"""Seconds without accepting after descriptors or memory ran out, unless a connection leaves."""

_SILENCE: Final = 10.0
"""Seconds between two notes."""

_YIELD: Final = 0.002
"""Seconds for which a connection is left to other workers before this one asks again."""

_PATIENCE: Final = 10
"""How often in a row that is done: they seem not to want it."""

_LAST: Final = 1024
"""Connections that are taken out of a queue at the end, at the most: the queue goes on to fill."""


class Turns(Protocol):
    """Whose turn it is at listeners that workers share."""

    def is_shared(self, listener: socket.socket) -> bool:
        """Whether other workers accept from it, too."""

    def is_anothers(self, held: int) -> bool:
        """Whether one with ``held`` connections should leave the next one to somebody else."""


class Entrance:
    """All listeners of one server. It begins closed.

    ``limit`` is the most connections to hold, 0 for a share of the open-file limit; ``held`` says
    how many have a protocol now; ``settled`` is called when none is on its way any more; ``note``
    takes a level and a line for the cluster's events. ``peers`` bounds what one of them may have.
    Without ``turns`` every connection is taken at once.
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
        turns: Turns | None = None,
    ) -> None:
        self._acceptor = partial(Acceptor, protocol=protocol, gate=self, peers=peers)
        self._acceptors = [self._acceptor(each, tls=tls) for each in listeners]
        self._foreign: dict[int, Acceptor] = {}  # of other slots, by descriptor
        self._turns = turns
        self._shared = [
            each for each in self._acceptors if turns and turns.is_shared(each.listener)
        ]
        self._yields = 0  # in a row
        self._yield: asyncio.TimerHandle | None = None
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
        for acceptor in self._all():
            acceptor.tls = context

    def has_room_beside(self, coming: int) -> bool:
        """Whether there is room for one more connection beside ``coming`` others."""
        return self._count() + coming < self._limit

    def resume(self) -> None:
        """Accept from now on."""
        self._is_open = True
        self._accept()

    def pause(self) -> None:
        """Accept nothing more; what was accepted arrives."""
        self._is_open = False
        self._wait()
        self._is_full = False

    def finish(self) -> None:
        """Take what waits in the queues, and pause: nobody may come who takes it later."""
        if self._is_open:
            for acceptor in self._acceptors:
                acceptor.accept(_LAST)
        self.pause()

    def steal(self, listeners: Sequence[socket.socket], count: int) -> int:
        """Accept from listeners of other slots, and return how many connections it was."""
        taken = 0
        for listener in listeners if self._is_open else ():
            acceptor = self._foreign.get(listener.fileno())
            if acceptor is None:
                acceptor = self._acceptor(listener, tls=self.tls)
                self._foreign[listener.fileno()] = acceptor
            taken += acceptor.accept(count - taken)
        return taken

    def look(self) -> None:
        """A connection left: there may be room again."""
        if self._is_full and self._has_room():
            self._accept()

    def adopt(
        self, connection: socket.socket, protocol: Callable[[], asyncio.Protocol] | None = None
    ) -> None:
        """Take a connected socket from elsewhere. It has been let in, so nobody asks for room."""
        kin = (each for each in self._acceptors if each.listener.family == connection.family)
        next(kin, self._acceptors[0]).adopt(connection, protocol)

    def drop_arrivals(self) -> None:
        """Give up what has not arrived."""
        for acceptor in self._all():
            acceptor.drop_arrivals()

    def movable(self) -> list[Arrival]:
        """What is on its way and has no state but the socket's. In any thread."""
        return [arrival for acceptor in self._all() for arrival in acceptor.movable()]

    def fds(self) -> list[int]:
        """The listeners and the sockets of arrivals."""
        return [fd for acceptor in self._all() for fd in acceptor.fds()]

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

    def is_anothers(self, acceptor: Acceptor) -> bool:
        if self._turns is None or acceptor not in self._shared:
            return False
        if self._yields < _PATIENCE and self._turns.is_anothers(self._count()):
            self._yields += 1
            for each in self._shared:
                each.pause()
            # A timer only now, while a connection waits: an idle process has none.
            self._yield = self._loop.call_later(_YIELD, self._ask_again)
            return True
        self._yields = 0
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

    def _all(self) -> list[Acceptor]:
        return [*self._acceptors, *self._foreign.values()]

    def _ask_again(self) -> None:
        self._yield = None
        for acceptor in self._shared:
            acceptor.resume()

    def _accept(self) -> None:
        self._cancel_timers()
        self._is_full = False
        for acceptor in self._acceptors:
            acceptor.resume()

    def _wait(self) -> None:
        self._cancel_timers()
        self._is_full = True
        for acceptor in self._acceptors:
            acceptor.pause()

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._yield):
            if timer is not None:
                timer.cancel()
        self._retry = self._yield = None

    def _say(self, text: str) -> None:
        now = monotonic()
        if now - self._noted >= _SILENCE:
            self._noted = now
            self._note("warning", text)


def _share_of_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    # Listeners of all slots and the cluster's own are open already: with many slots these are many.
    return max(int((soft - len(os.listdir("/dev/fd"))) * _SHARE), 1)
