"""What a transport tells of its socket."""

import asyncio
import fcntl
import select
import termios
from array import array


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
    try:
        sock = transport.get_extra_info("socket")
    except AttributeError:  # asyncio's TLS, once it is closed
        return -1
    return -1 if sock is None else int(sock.fileno())


_unread = array("i", [0])  # of one loop's thread, as everything here


def bytes_wait(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel holds bytes of this connection that nobody has read."""
    fd = descriptor_of(transport)
    if fd < 0:
        return False
    # Into a buffer of our own: half the cost of an answer that is made and unpacked.
    fcntl.ioctl(fd, termios.FIONREAD, _unread, True)
    return _unread[0] != 0


def bytes_left(transport: asyncio.Transport) -> int:
    """Bytes that were written and that the kernel has not taken yet."""
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # asyncio's TLS, once it is closed
        return 0


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
