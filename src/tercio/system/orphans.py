"""Adopt and reap processes that lost their parent, as PID 1 or as a subreaper."""

import os
from collections.abc import Container, Iterator

from tercio.system import libc, proc


def become_subreaper() -> bool:
    """Become the parent of all descendants whose own parent dies; False where not possible."""
    return libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)


def reap_strangers(known: Container[int]) -> int:
    """Reap ended children whose pid is not `known`; how many. Never touches a known child.

    Reap the known ones first: an ended one that was not reaped yet makes this read all of /proc.
    Call it from the thread that spawns: a child between its start and its entry in `known` would
    be taken for a stranger.
    """
    if not hasattr(os, "waitid"):  # macOS before 3.13, which has no subreapers either
        return 0
    reaped = 0
    while (pid := _first_ended()) is not None:
        if pid in known:
            # WNOWAIT shows the same zombie again and again, and strangers may be behind it.
            return reaped + sum(_reap(child) for child in _children() if child not in known)
        reaped += _reap(pid)
    return reaped


def _first_ended() -> int | None:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None  # no children at all
    return None if ended is None else ended.si_pid


def _reap(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is not None
    except ChildProcessError:
        return False


def _children() -> Iterator[int]:
    own = os.getpid()
    for pid in proc.pids():
        if proc.parent(pid) == own:
            yield pid
