"""End what cannot end itself when the primary is gone: siblings that are stopped.

A process that was stopped (SIGSTOP) runs no thread and takes no signal but SIGKILL, so neither
its life-line nor its parent-death signal can end it. A sibling that runs can. The last worker of a
cluster has no sibling: stopped, it stays until somebody continues or kills it.
"""

import os
import signal

from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.system import lifeline, proc


def end_all(scoreboard_fd: int) -> None:
    """End stopped siblings, then our own process group. For the life-line's thread."""
    try:
        for row in Scoreboard.attach(scoreboard_fd):
            end_if_stopped(row[Field.PID])
    finally:
        lifeline.end_own_group()


def end_if_stopped(pid: int) -> None:
    """Kill a process if it is a stopped worker of our cluster, and not one that took its pid."""
    if not pid or pid == os.getpid():
        return
    try:
        # Like every worker it leads its own group, in our session, and its parent is ours: the
        # dying primary, or at any instant from now on whoever adopts us all.
        parents = {os.getppid(), proc.parent(pid), os.getppid()}
        is_sibling = len(parents) == 1 or proc.parent(pid) == os.getppid()
        is_ours = os.getpgid(pid) == pid and os.getsid(pid) == os.getsid(0)
        state = proc.state(pid)
        if is_sibling and is_ours and state is not None and state.letter == "T":
            os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone meanwhile, or never ours
