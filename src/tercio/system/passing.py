"""Pass descriptors to another process over a Unix stream socket, without waiting to be read."""

import array
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tercio.errors import ProtocolError

MOST: Final = 250
"""Descriptors in one message; the kernel takes 253."""

_CLOEXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_NO_SIGPIPE: Final = getattr(socket, "MSG_NOSIGNAL", 0)


def send(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send ``data``, and the descriptors with the last byte of it. Raises `OSError`.

    More than `MOST` of them go in messages of one byte before it.
    """
    rest = list(fds)
    while len(rest) > MOST:
        _send(sock, b"\n", rest[:MOST])
        del rest[:MOST]
    _send(sock, data, rest)


def receive(sock: socket.socket, most_bytes: int) -> tuple[bytes, list[int]]:
    """The next bytes, and what came with the last of them; ``b""`` at the end of the stream.

    Raises `ProtocolError` when this process could not have all the descriptors.
    """
    room = socket.CMSG_SPACE(MOST * array.array("i").itemsize)
    data, extra, flags, _ = sock.recvmsg(most_bytes, room, _CLOEXEC)
    found = array.array("i")
    for level, kind, content in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    fds = found.tolist()
    if flags & socket.MSG_CTRUNC:
        close(fds)
        raise ProtocolError("descriptors are missing (see ulimit -n)")
    return data, fds


def close(fds: Sequence[int]) -> None:
    """Close what came with a message."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


def _send(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    if sock.sendmsg([data], extra, _NO_SIGPIPE) != len(data):
        raise BlockingIOError("the other end takes no more")
