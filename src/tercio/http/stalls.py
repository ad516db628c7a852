"""Tell a client that reads slowly from one that reads nothing.

nothing waits --bytes wait--> waiting --the client took some--> waiting anew
"""

import asyncio
import socket
import struct
import sys
from typing import Final

from tercio.http.transports import bytes_left, descriptor_of

_ACKED_AT: Final = 120
"""Where struct tcp_info of Linux (4.1 and newer) has tcpi_bytes_acked."""


class Stall:
    """Of one transport. Looked at once a sweep."""

    __slots__ = ("_since", "_taken")

    def __init__(self) -> None:
        self._taken: int | None = None  # None: nothing waits
        self._since = 0.0

    def is_over(self, now: float, transport: asyncio.Transport, timeout: float) -> bool:
        """Whether bytes wait and nothing was taken for ``timeout`` seconds; 0 = never."""
        left = bytes_left(transport)
        if not left:
            self._taken = None
            return False
        taken = _taken(transport, left)
        if taken != self._taken:
            self._taken = taken
            self._since = now
        return bool(timeout) and now - self._since > timeout


def _taken(transport: asyncio.Transport, left: int) -> int:
    """A number that changes when the client takes bytes.

    What waits in the transport does not tell: it shrinks only when a third of the kernel's own
    buffer is free, which a slow client needs minutes for, and an application may add to it.
    """
    fd = descriptor_of(transport)
    if fd >= 0 and sys.platform == "linux":
        sock = socket.socket(fileno=fd)
        try:
            if sock.family != socket.AF_UNIX:
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + 8)
                if len(info) == _ACKED_AT + 8:
                    return int(struct.unpack_from("Q", info, _ACKED_AT)[0])
        finally:
            sock.detach()
    return -left
