"""Open directories that only this user can change, and refuse all others with the reason."""

import errno
import os
import stat
from contextlib import suppress

from tercio.errors import RuntimeDirRefused

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_TRIES = 100  # each lost to somebody who removed the directory just then


class Unavailable(RuntimeDirRefused):
    """There is no such directory and it cannot be made: another place may do."""


def open_private(path: str, *, mode_matters: bool = True) -> int:
    """Open a directory of ours, made 0700 if it is missing; refuse what others could change.

    ``mode_matters`` also refuses one that others could look into.
    """
    _check_parent(os.path.dirname(os.path.abspath(path)), path)
    try:
        directory = _made_and_opened(path)
    except OSError as error:
        # ENOTDIR is also what Linux says of a symbolic link opened with O_DIRECTORY | O_NOFOLLOW.
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and os.path.lexists(path):
            raise refused(path, "it is not a directory, or a symbolic link to one") from error
        if error.errno in (errno.EACCES, errno.EPERM) and os.path.lexists(path):
            raise refused(path, _foreign(os.lstat(path).st_uid, error.strerror)) from error
        raise Unavailable(_message(path, f"it cannot be made ({error.strerror})")) from error
    try:
        found = os.fstat(directory)
        if found.st_uid != os.geteuid():
            raise refused(path, _foreign(found.st_uid, "not this user's"))
        if found.st_mode & (0o077 if mode_matters else 0o022):
            raise refused(
                path,
                f"other users have access to it (mode {stat.S_IMODE(found.st_mode):04o}; "
                f"chmod 700 helps)",
            )
    except BaseException:
        os.close(directory)
        raise
    return directory


def _made_and_opened(path: str) -> int:
    for tries_left in reversed(range(_TRIES)):
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        try:
            return os.open(path, DIRECTORY)
        except FileNotFoundError:
            if not tries_left:
                raise  # else: its last user removed it in between
    raise AssertionError("unreachable: the last try returns or raises")


def _check_parent(parent: str, path: str) -> None:
    """Refuse a directory in which others could put something else in the place of ours."""
    try:
        found = os.stat(parent)
    except OSError as error:
        raise Unavailable(_message(path, f"{parent} is not there ({error.strerror})")) from error
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise refused(
            path,
            f"other users could replace it: {parent} is writable for them (mode "
            f"{stat.S_IMODE(found.st_mode):04o}) and not sticky",
        )
    if found.st_uid not in (0, os.geteuid()) and _is_mapped(found.st_uid):
        raise refused(path, f"user id {found.st_uid} could replace it: {parent} is theirs")


def _is_mapped(uid: int) -> bool:
    """Whether this number can be a user that runs something.

    In a user namespace the files of everybody outside of it, root included, show one number that
    stands for none of its users.
    """
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as lines:
            ranges = [[int(word) for word in line.split()] for line in lines]
    except (OSError, ValueError):
        return True
    return any(first <= uid < first + count for first, _, count in ranges)


def refused(path: str, reason: str) -> RuntimeDirRefused:
    """Return the error to raise."""
    return RuntimeDirRefused(_message(path, reason))


def _message(path: str, reason: str) -> str:
    return f"runtime directory {path!r} cannot be used: {reason}; choose another with --runtime-dir"


def _foreign(uid: int, reason: str | None) -> str:
    return f"it belongs to user id {uid} ({reason})" if uid != os.geteuid() else f"{reason}"
