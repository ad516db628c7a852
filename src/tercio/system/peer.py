"""Tell who is at the other end of a Unix socket. Whether they may enter is not decided here."""

import socket
import struct
import sys
from dataclasses import dataclass

from tercio.errors import ProtocolError

# <sys/un.h> of macOS; the socket module names them only in some builds.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 0x001
_LOCAL_PEERPID = 0x002


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who was at the other end when it connected (or, for a server, when it called listen).

    ``pid`` is None when that process lives outside of our pid namespace.
    """

    pid: int | None
    uid: int
    gid: int


def peer_credentials(connection: socket.socket) -> PeerCredentials:
    """Ask the kernel; raises ProtocolError for what is not a connected Unix socket.

    The uid and gid can be trusted. The pid is good for messages only: it may be in use by another
    process by now.
    """
    if connection.family != socket.AF_UNIX:
        raise ProtocolError("the peer cannot be identified: this is not a Unix socket")
    try:
        pid, uid, gid = _ask(connection)
    except (OSError, struct.error) as error:
        raise ProtocolError(f"the peer cannot be identified: {error}") from error
    return PeerCredentials(pid or None, uid, gid)


if sys.platform == "linux":

    def _ask(connection: socket.socket) -> tuple[int, int, int]:
        ucred = struct.Struct("iII")
        answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ucred.size)
        pid, uid, gid = ucred.unpack(answer)
        return pid, uid, gid

else:

    def _ask(connection: socket.socket) -> tuple[int, int, int]:
        xucred = struct.Struct("IIh16I")  # version, uid, number of groups, groups
        answer = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, xucred.size)
        _, uid, _, gid, *_ = xucred.unpack(answer)
        try:
            pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
        except OSError:
            pid = 0
        return pid, uid, gid
