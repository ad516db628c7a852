"""What a transport tells of its socket."""

import asyncio
import fcntl
import select
import struct
import termios


def client_of(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """The peer's address and port; None for a Unix socket."""
    name = transport.get_extra_info("peername")
    return (name[0], name[1]) if isinstance(name, tuple) else None


def server_of(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    """Our address and port, or the path of a Unix socket."""
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return (name[0], name[1])
    return (name, None) if isinstance(name, str) else None


def descriptor_of(transport: asyncio.BaseTransport) -> int:
    """The number of the socket's descriptor, -1 if it is closed."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def bytes_wait(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read."""
    fd = descriptor_of(transport)
    if fd < 0:
        return False
    answer = fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0")
    return bool(struct.unpack("i", answer)[0])


def is_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has closed, even if bytes before that are unread.

    Only Linux tells of a peer that closed one direction; elsewhere it must be both.
    """
    fd = descriptor_of(transport)
    if fd < 0:
        return True
    poll = select.poll()
    poll.register(fd, getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
