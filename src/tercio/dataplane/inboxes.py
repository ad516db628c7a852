"""Where a worker finds the connections that others give it: one pair of Unix sockets a seat.

The primary makes the pairs and keeps them; a worker inherits every sending end, and the receiving
end of its own seat. An inbox therefore outlives its worker, with what lies in it: whoever comes
next to the seat throws away what was meant for another one, and the primary does when a worker is
reaped, so that no copy of a connection keeps a client waiting for an end.

The kernel drops descriptors that a process cannot have, the last ones first: who reads a message
knows how many belong to it, and takes all or none.
"""

import array
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Final, Self

from tercio.errors import CouldNotStart

MOST_BYTES: Final = (64 << 10) + 256
"""Bytes of one message."""

_SEND_BUFFER: Final = 1 << 20  # bytes; the kernel gives what net.core.wmem_max allows

# A message is sent whole, or not at all. macOS has no packets over Unix sockets, but datagrams.
_KIND: Final = socket.SOCK_DGRAM if sys.platform == "darwin" else socket.SOCK_SEQPACKET
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_RECEIVE_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_MOST_FDS: Final = 2
_ROOM: Final = socket.CMSG_SPACE(4 * _MOST_FDS)


class Inboxes:
    """All sending ends by seat, and the receiving ends that this process has."""

    def __init__(self, outlets: list[socket.socket], inlets: dict[int, socket.socket]) -> None:
        self._outlets = outlets
        self._inlets = inlets
        self._buffer = bytearray(MOST_BYTES)

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make ``seats`` pairs. Raises `CouldNotStart` without descriptors."""
        outlets: list[socket.socket] = []
        inlets: dict[int, socket.socket] = {}
        with ExitStack() as undo:
            try:
                for seat in range(seats):
                    outlet, inlet = socket.socketpair(socket.AF_UNIX, _KIND)
                    undo.enter_context(outlet)
                    undo.enter_context(inlet)
                    outlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
                    outlets.append(outlet)
                    inlets[seat] = inlet
            except OSError as error:
                raise CouldNotStart(
                    f"cannot open inboxes for {seats} processes: {error.strerror}"
                ) from error
            undo.pop_all()
        return cls(outlets, inlets)

    @classmethod
    def attach(cls, record: Mapping[str, int], seat: int) -> Self:
        """Take over what was inherited for the worker in ``seat``."""
        outlets: list[socket.socket] = []
        while (fd := record.get(f"outlet{len(outlets)}")) is not None:
            outlets.append(socket.socket(fileno=fd))
        return cls(outlets, {seat: socket.socket(fileno=record["inlet"])})

    def to_record(self, seat: int) -> dict[str, int]:
        """What the worker in ``seat`` inherits: descriptors by name."""
        outlets = {f"outlet{each}": outlet.fileno() for each, outlet in enumerate(self._outlets)}
        return {"inlet": self._inlets[seat].fileno(), **outlets}

    @property
    def seats(self) -> int:
        """How many there are."""
        return len(self._outlets)

    def fileno(self, seat: int) -> int:
        """The receiving end of a seat, to wait on."""
        return self._inlets[seat].fileno()

    def send(self, seat: int, data: bytes, fds: Sequence[int] = ()) -> bool:
        """Put a message into an inbox, without waiting. False: it is not there.

        That is so when it is full, when this process or the user has too many descriptors on their
        way (ETOOMANYREFS), or when nobody has the receiving end any more.
        """
        extra = []
        if fds:
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            self._outlets[seat].sendmsg([data], extra, _SEND_FLAGS)
        except OSError:
            return False
        return True

    def receive(self, seat: int) -> tuple[bytes, list[int]] | None:
        """The next message of an inbox and its descriptors; None if there is none.

        Descriptors that this process could not have (MSG_CTRUNC) are missing, and gone: whoever
        sent them has copies.
        """
        try:
            size, extra, _, _ = self._inlets[seat].recvmsg_into(
                [self._buffer], _ROOM, _RECEIVE_FLAGS
            )
        except (BlockingIOError, InterruptedError, ConnectionError):
            return None
        found = array.array("i")
        for level, kind, content in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
        fds = found.tolist()
        if not size:
            close_all(fds)
            return None  # the end: nobody can send any more
        if sys.platform == "darwin":
            for fd in fds:
                os.set_inheritable(fd, False)
        return bytes(self._buffer[:size]), fds

    def discard(self, seat: int) -> int:
        """Throw away what lies in the inbox of a dead worker; how many messages there were."""
        count = 0
        while (message := self.receive(seat)) is not None:
            count += 1
            close_all(message[1])
        return count

    def close(self) -> None:
        """Close all ends of this process."""
        for end in (*self._outlets, *self._inlets.values()):
            end.close()


def close_all(fds: Iterable[int]) -> None:
    """Close what came with a message."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
