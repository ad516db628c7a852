"""Take over a process that another one has started for us.

As a subreaper we become the parent of a process whose own parent has ended. From then on its number
cannot be given to another process, as nobody else can reap it.
"""

import errno
import os

from tercio.errors import SpawnFailed
from tercio.system.process import ChildProcess


def adopt(pid: int) -> ChildProcess:
    """The handle on a process that is our child by now. Raises `SpawnFailed` if it is none.

    Whoever said the number may be wrong or lie: only a child of ours can be signalled with it.
    """
    if pid <= 1:  # waitid takes 0 for "any"
        raise SpawnFailed(f"pid {pid} is no child of the primary")
    try:
        pidfd: int | None = os.pidfd_open(pid)
    except ProcessLookupError:
        raise SpawnFailed(f"pid {pid} is no child of the primary") from None
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # old kernel, or a strict filter
            raise SpawnFailed(f"pid {pid} cannot be watched: {error.strerror}") from error
        pidfd = None
    try:
        # The descriptor stands for this process, whatever its number means later.
        kind, number = (os.P_PID, pid) if pidfd is None else (os.P_PIDFD, pidfd)
        os.waitid(kind, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        if pidfd is not None:
            os.close(pidfd)
        raise SpawnFailed(f"pid {pid} is no child of the primary") from None
    return ChildProcess(pid, pidfd)
