"""How to write to a descriptor that other processes use, too.

O_NONBLOCK is never set on a description that is not our own.
"""

import os
import socket
import stat
from collections.abc import Callable
from typing import NamedTuple


class Way(NamedTuple):
    """How to write to a descriptor: our own, or -1 if there is none; ``waits`` if put() may."""

    fd: int
    put: Callable[[bytes], int]
    close: Callable[[], None]
    waits: bool


def to(fd: int) -> Way:
    """The way to write to ``fd``, which stays the caller's."""
    try:
        mode = os.fstat(fd).st_mode
        own = os.dup(fd)
    except OSError:
        # Never tried again: by then the number may belong to the application's database.
        return Way(-1, _nowhere, _nothing, waits=False)
    if stat.S_ISSOCK(mode) and socket.getdefaulttimeout() is None:
        # With a default time-out this constructor would set O_NONBLOCK.
        sock = socket.socket(fileno=own)
        flags = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
        return Way(own, lambda data: sock.send(data, flags), sock.close, waits=False)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            # Linux: a new description. It may be refused, such as for a terminal after `su`.
            again = os.open(
                f"/proc/self/fd/{own}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            )
        except OSError:
            return plain(own, waits=True)
        os.close(own)
        return plain(again, waits=False)
    return plain(own, waits=not stat.S_ISREG(mode))


def plain(fd: int, *, waits: bool) -> Way:
    """The way to write to ``fd`` itself, which is ours to close."""
    return Way(fd, lambda data: os.write(fd, data), lambda: os.close(fd), waits)


def _nowhere(data: bytes) -> int:
    return len(data)


def _nothing() -> None:
    pass
