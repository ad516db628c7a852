"""Open a file for log lines, so that several processes can add to it and a rotation loses none."""

import errno
import os
import stat
import sys
from collections import deque
from typing import Final

from tercio.errors import ConfigError
from tercio.system.identity import Identity, rights_of

_MODE: Final = 0o640
# Without O_NONBLOCK a FIFO that nobody reads would hold us for ever.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_LINKS: Final = 40  # as Linux follows
_ACL: Final = "system.posix_acl_access"
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}


def standard(path: str, default: int) -> int | None:
    """The standard descriptor that ``path`` means; None for a file."""
    if path in ("", "-"):
        return default
    # Opened by its name it would have an offset of its own, and begin a redirected file anew.
    return _STANDARD.get(path)


def open_log(path: str, owner: Identity | None = None) -> int:
    """A descriptor that adds whole lines to the end of ``path``, which is made if it is not there.

    With ``owner`` it is opened with their rights, so that workers can open it again: their
    directories may hold whatever links they made, and lead nowhere that they cannot go themselves.
    A new file below directories where they may change nothing is made for them. Raises `OSError`.
    """
    fd = _opened(path) if owner is None else _opened_for(path, owner)
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is neither a file nor a pipe nor a terminal", path)
    return fd


def _opened(path: str) -> int:
    return os.open(path, _FLAGS | os.O_CREAT, _MODE)


def _opened_for(path: str, owner: Identity) -> int:
    flags = _FLAGS | os.O_NOFOLLOW
    try:
        with rights_of(owner):
            return os.open(path, flags | os.O_CREAT, _MODE)
    except PermissionError:
        directory = _out_of_reach(os.path.dirname(path) or ".", owner)
        if directory is None or os.path.lexists(path):
            raise
    place = os.path.join(directory, os.path.basename(path))
    fd = os.open(place, flags | os.O_CREAT | os.O_EXCL, _MODE)
    os.fchown(fd, owner.uid, owner.gid)
    return fd


def _out_of_reach(directory: str, owner: Identity) -> str | None:
    """The directory without links, or None if the user can change anything on the way to it."""
    at, links = "/", 0
    parts = deque(("/", *os.path.abspath(directory).split("/")))
    while parts:
        place = os.path.join(at, parts.popleft())
        entry = os.lstat(place)
        if stat.S_ISLNK(entry.st_mode) and entry.st_uid != owner.uid and links < _MOST_LINKS:
            links += 1
            target = os.readlink(place)
            at = "/" if target.startswith("/") else at
            parts.extendleft(reversed(target.split("/")))
        elif stat.S_ISDIR(entry.st_mode) and not _may_change(place, entry, owner):
            at = os.path.normpath(place)  # it has no links, so that ".." is what it seems
        else:
            return None
    return at


def _may_change(place: str, entry: os.stat_result, owner: Identity) -> bool:
    """Whether a user can make, or put another in the place of, what lies in a directory."""
    if entry.st_uid == owner.uid:
        return True
    if entry.st_mode & stat.S_ISVTX:
        return False  # as /tmp: what is not theirs stays
    is_in_group = entry.st_gid in (owner.gid, *owner.groups)
    # The bits of the group are the most that an access control list allows anybody (acl(5)).
    by_group = stat.S_IWGRP if is_in_group or _has_list(place) else 0
    return bool(entry.st_mode & (stat.S_IWOTH | by_group))


def _has_list(place: str) -> bool:
    return sys.platform == "linux" and _ACL in os.listxattr(place, follow_symlinks=False)


def reason(error: OSError) -> str:
    """Why a log file cannot be opened."""
    if error.errno == errno.ENXIO:
        return "nobody reads this pipe"
    if error.errno == errno.ELOOP:
        return "it is a link, which is not followed where workers are of another user"
    return error.strerror or str(error)


def check(flag: str, path: str, owner: Identity | None) -> None:
    """Make the file, or find out why it cannot be had. Raises `ConfigError`."""
    try:
        os.close(open_log(path, owner))
    except OSError as error:
        raise ConfigError(f"{flag} {path}: it cannot be opened; {reason(error)}") from error
