"""Open a file for log lines, so that several processes can add to it and a rotation loses none."""

import errno
import os
import stat
from typing import Final

from tercio.errors import ConfigError
from tercio.system.identity import Identity

_MODE: Final = 0o640
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2}


def standard(path: str, default: int) -> int | None:
    """The standard descriptor that ``path`` means; None for a file."""
    if path in ("", "-"):
        return default
    # Opened by its name it would have an offset of its own, and begin a redirected file anew.
    return _STANDARD.get(path)


def open_log(path: str, owner: Identity | None = None) -> int:
    """A descriptor that adds whole lines to the end of ``path``, which is made if it is not there.

    With ``owner`` a new file is theirs, so that workers can open it again: and then no link is
    followed, as their directory may hold links that they made. Raises `OSError`.
    """
    # Without O_NONBLOCK a FIFO that nobody reads would hold us for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    if owner is not None:
        flags |= os.O_NOFOLLOW
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        fd = os.open(path, flags | (0 if owner is not None else os.O_CREAT), _MODE)
    else:
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is neither a file nor a pipe nor a terminal", path)
    return fd


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
