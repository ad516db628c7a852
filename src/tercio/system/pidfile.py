"""The file that says which process the primary is, for programs that want to signal it."""

import os
import secrets
import stat
from contextlib import suppress
from typing import Final

from tercio.errors import CouldNotStart
from tercio.system import proc

_MODE: Final = 0o644
_LONGEST: Final = 32  # bytes; more is no pid
_SLACK: Final = 2.0  # seconds that clocks of files and processes may differ


class PidFile:
    """A file with this process' number. It is replaced as a whole: nobody reads half of one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._content = f"{os.getpid()}\n".encode()

    def write(self) -> None:
        """Make it. Raises `CouldNotStart` when another process that lives is named there."""
        try:
            if (owner := _owner(self.path)) is not None:
                raise CouldNotStart(
                    f"--pid-file {self.path} names process {owner}, which runs; stop it first, or "
                    "remove the file if it is another program's"
                )
            self._replace()
        except OSError as error:
            raise CouldNotStart(
                f"--pid-file {self.path}: it cannot be written; {error.strerror or error}"
            ) from error

    def remove(self) -> None:
        """Remove it, unless it is somebody else's by now."""
        with suppress(OSError):  # gone, or not ours to remove: the process ends all the same
            if _read(self.path) == self._content:
                os.unlink(self.path)

    def _replace(self) -> None:
        # Beside it, as a rename is whole within one file system only. O_EXCL: no link is followed.
        beside = f"{self.path}.{secrets.token_hex(4)}"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            try:
                os.fchmod(fd, _MODE)  # whatever the umask is
                os.write(fd, self._content)
            finally:
                os.close(fd)
            os.rename(beside, self.path)
        except BaseException:
            os.unlink(beside)
            raise


def _owner(path: str) -> int | None:
    """The living process that a file speaks of; None if there is no file, or it is stale."""
    try:
        content = _read(path)
        written = os.lstat(path).st_mtime
    except FileNotFoundError:
        return None
    text = content.strip()
    if not text.isdigit():
        # Replacing what is no pid file might destroy somebody's work.
        if text:
            raise OSError(0, "there is a file that is no pid file")
        return None
    pid = int(text)
    if pid in (0, os.getpid()) or not _lives(pid):
        return None
    started = proc.start_time(pid)
    # Numbers are given again: who began after the file was written did not write it.
    return None if started is not None and started > written + _SLACK else pid


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is not a regular file")
        return os.read(fd, _LONGEST + 1)
    finally:
        os.close(fd)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return pid < 1 << 31
    return True
