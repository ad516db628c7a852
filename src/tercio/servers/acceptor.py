"""Take connections from one listener and hand them to protocols; it can pause and go on.

Not asyncio's `Server`, for four reasons. Closing one loses a connection that it accepted in the
same turn (`_attach` asserts that the server is open; seen in 3.11 to 3.13). After EMFILE it starts
to accept again in a second, even when it was closed meanwhile. It calls `listen` on a socket that
is not its own, and a TLS handshake in progress is invisible to whoever drains.
"""

import asyncio
import errno
import inspect
import logging
import select
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, cast

from tercio.servers.peers import Counted, Peers, turn_away

_log = logging.getLogger("tercio.acceptor")

_BATCH: Final = 4
"""Connections a wake-up: the listener is shared, and whoever takes all of them serves them all."""

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds for a client to agree on TLS; the loops' own is a minute."""

SHUTDOWN_TIMEOUT: Final = 1.0
"""Seconds to wait for a client's goodbye in TLS, which few send. The loops would wait for 30."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Gate(Protocol):
    """What an acceptor asks, and tells."""

    def has_room(self) -> bool:
        """Whether one more connection may come in. After False the acceptors are paused."""

    def is_anothers(self, acceptor: "Acceptor") -> bool:
        """Whether another worker should take the next one. After True the acceptor is paused."""

    def arrives(self) -> None:
        """A connection is on its way."""

    def ran_out(self, error: OSError) -> None:
        """Descriptors or memory ran out: pause the acceptors."""

    def arrived(self) -> None:
        """A connection that was on its way has its protocol, or is gone."""


class Arrival:
    """A connection that was accepted, up to the turn in which its protocol knows of it."""

    __slots__ = ("connection", "is_adopted", "is_released", "protocol", "task")

    task: asyncio.Task[None]

    def __init__(self, connection: socket.socket, *, is_adopted: bool) -> None:
        self.connection = connection
        self.is_adopted = is_adopted
        self.is_released = False
        """It is in other hands: what is left here is to be closed."""
        self.protocol: asyncio.Protocol | None = None
        """It has one, which may be told of the connection any time from now on."""


class Acceptor:
    """One listener. It is used as it was inherited, and never closed here."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        gate: Gate,
        peers: Peers | None = None,
    ) -> None:
        listener.setblocking(False)
        if listener.family != socket.AF_UNIX:
            _notice_the_dead(listener)
        self.listener = listener
        self.tls = tls  # read anew for each connection: certificates change
        self._protocol = protocol
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        # Who comes over a Unix socket has no address.
        self._peers = peers if listener.family != socket.AF_UNIX else None
        counted = Counted if self._peers is not None else socket.socket
        self._connection = _connections_of(listener, counted)
        # To ask costs 0.6 us, and an accept() that finds nothing 4 us: it raises an exception.
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)
        # Accepted and without a protocol yet, such as TLS handshakes.
        self._arrivals: dict[asyncio.Task[None], Arrival] = {}

    def resume(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self.listener.fileno(), self._accept)

    def pause(self) -> None:
        """Accept nothing more; what was accepted arrives."""
        self._loop.remove_reader(self.listener.fileno())

    def take(
        self, connection: socket.socket, protocol: Callable[[], asyncio.Protocol] | None = None
    ) -> None:
        """Give a connected socket to a protocol of its own. The socket is ours from here on."""
        connection.setblocking(False)
        arrival = Arrival(connection, is_adopted=protocol is not None)
        task = self._loop.create_task(self._connect(arrival, protocol or self._protocol))
        arrival.task = task
        self._arrivals[task] = arrival
        self._gate.arrives()
        task.add_done_callback(self._arrived)

    def accept(self, most: int) -> int:
        """Accept what waits in the queue, up to ``most``, and return how many it was."""
        taken = 0
        while taken < most and self._gate.has_room() and self._waiting.poll(0):
            if not self._take_next():
                break
            taken += 1
        return taken

    def adopt(
        self, connection: socket.socket, protocol: Callable[[], asyncio.Protocol] | None = None
    ) -> None:
        """Take one that another worker has let in: it counts for its peer, and is not refused."""
        if self._peers is not None and connection.family != socket.AF_UNIX:
            connection = Counted(fileno=connection.detach())
            with suppress(OSError):  # gone already, and nobody knows whose it was
                key = self._peers.count(connection.getpeername()[0])
                connection.place = partial(self._peers.leave, key)
        self.take(connection, protocol)

    def drop_arrivals(self) -> None:
        """Give up what has not arrived."""
        if self.tls is None:
            # They arrive within a turn of the loop, and the server ends them. A task of uvloop that
            # is cancelled here leaves a transport that tells nobody of its end.
            return
        for task, arrival in self._arrivals.items():
            task.cancel()
            if (
                inspect.getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro()))
                == inspect.CORO_CREATED
            ):
                arrival.connection.close()  # the task never begins, so nobody else will

    def movable(self) -> list["Arrival"]:
        """What is on its way and has no state but the socket's. In any thread."""
        if self.tls is not None:
            return []
        # What another worker has given may have luggage, which is its protocol's.
        return [arrival for arrival in list(self._arrivals.values()) if not arrival.is_adopted]

    def fds(self) -> list[int]:
        """The listener and the sockets of arrivals."""
        sockets = (self.listener, *(arrival.connection for arrival in self._arrivals.values()))
        return [fd for fd in (sock.fileno() for sock in sockets) if fd >= 0]

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._gate.has_room() or self._gate.is_anothers(self):
                return
            if not self._take_next() or not self._waiting.poll(0):
                return

    def _take_next(self) -> bool:
        """Accept one; False if there is none, or none can be had now."""
        try:
            fd, address = self.listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            # The listener stays readable: without a pause this would be a busy loop.
            self._gate.ran_out(error)
            return False
        connection = self._connection(fileno=fd)
        # macOS gives no address for one that is gone already.
        if self._peers is None or self._is_admitted(connection, address[0] if address else ""):
            self.take(connection)
        return True

    def _is_admitted(self, connection: socket.socket, host: str) -> bool:
        """Whether its peer may have one more; if not, it is closed.

        Nothing is said. A client whose request is on its way would be sent a reset, and a reset
        destroys an answer that it has not read: to deliver one means to wait for the request, which
        is the very place that was to be kept.
        """
        assert self._peers is not None
        key = self._peers.admit(host)
        if key is None:
            turn_away(connection)
            return False
        cast("Counted", connection).place = partial(self._peers.leave, key)
        return True

    async def _connect(self, arrival: "Arrival", protocol: Callable[[], asyncio.Protocol]) -> None:
        connection = arrival.connection
        if arrival.is_released:
            connection.close()
            return

        def make() -> asyncio.Protocol:
            arrival.protocol = protocol()
            return arrival.protocol

        # Both loops set TCP_NODELAY: listeners are made to say that they are TCP's, and so do
        # the connections of such a one.
        try:
            if self.tls is None:
                transport, _ = await self._loop.connect_accepted_socket(make, connection)
                if getattr(arrival.protocol, "is_released", False):
                    transport.abort()  # a dummy is in its place
            else:
                await self._loop.connect_accepted_socket(
                    protocol,
                    connection,
                    ssl=self.tls,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                    ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                )
        except (OSError, EOFError) as error:  # ssl.SSLError is an OSError; EOF from uvloop's TLS
            _log.debug("a connection ended before its first request: %s", error)
            connection.close()

    def _arrived(self, task: asyncio.Task[None]) -> None:
        del self._arrivals[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection could not be set up", exc_info=error)
        self._gate.arrived()


def _notice_the_dead(listener: socket.socket) -> None:
    """Have the kernel ask silent clients whether they live; connections inherit it.

    A client that vanished says nothing, and while it is not read, because of what it has sent
    before, not even the end of its stream arrives.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # macOS calls it otherwise, and asks after two hours
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _connections_of(
    listener: socket.socket, base: type[socket.socket]
) -> Callable[..., socket.socket]:
    """Sockets of the listener's kind, which know it by heart.

    `socket.accept` and the loops ask each socket for its family and type, and it makes an enum of
    a number each time: 4 us a connection, of 40.
    """
    family, kind = int(listener.family), int(listener.type)
    known: Any = type("Connection", (base,), {"family": family, "type": kind})
    return partial(known, family, kind, listener.proto)
