"""Notice that application code closed descriptors of the worker, as ``os.closerange`` does."""

import os
from collections.abc import Iterable, Mapping

_Identity = tuple[int, int, int]


def identities(fds: Iterable[int]) -> dict[int, _Identity | None]:
    """What each descriptor is open on; None if it is closed."""
    return {fd: _identity(fd) for fd in fds}


def lost(before: Mapping[int, _Identity | None]) -> list[int]:
    """Those that are closed, or something else by now: a number that is free is given anew."""
    return [fd for fd, identity in before.items() if _identity(fd) != identity]


def _identity(fd: int) -> _Identity | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    # All of epoll, pidfd and the like share one inode: for them it tells no more than the kind.
    return (status.st_dev, status.st_ino, status.st_mode)
