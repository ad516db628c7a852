"""Ask the kernel how many connections wait in a listener's queue."""

import socket
import struct
import sys
from typing import Final

_UNACKED: Final = 24  # where `tcpi_unacked` is in `struct tcp_info`: of a listener, its queue
_SIZE: Final = 32


def waiting(listener: socket.socket) -> int:
    """How many clients are connected to a TCP listener and accepted by nobody; 1 us.

    0 where the kernel does not tell (other systems, and Unix sockets). Raises `OSError` if the
    socket is closed.
    """
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return 0
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    (found,) = struct.unpack_from("=I", info, _UNACKED)
    return int(found)
