"""Take a path in the file system for a Unix socket, and give it back.

A path outlives the process that bound it. What is left of a dead one is replaced, what is alive or
is no socket is never touched. All of that happens under a lock on the directory, so two
simultaneous starts cannot both find the path stale and take it from each other.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tercio.errors import AddressInUse, CouldNotStart, ProtocolError
from tercio.system import owners
from tercio.system.peer import peer_credentials

LOCK_WAIT = 1.5  # seconds; who holds the lock needs it for a few milliseconds
LOCK_RETRY = 0.01  # seconds


class Inode(NamedTuple):
    """What tells our socket file from another one at the same path."""

    device: int
    number: int


def listen_at_path(path: str, *, backlog: int, permissions: int) -> tuple[socket.socket, Inode]:
    """Listen at ``path``; the file never has more permissions than asked, at no instant."""
    with _locked_directory(path) as directory:
        _clear(path, directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            inode = _bind(listener, path, directory, permissions)
            try:
                listener.listen(backlog)
            except OSError:
                os.unlink(os.path.basename(path), dir_fd=directory)
                raise
        except OSError as error:
            listener.close()
            raise _refusal(path, error) from error
        listener.setblocking(False)
        return listener, inode


def unlink_ours(path: str, inode: Inode) -> bool:
    """Remove the socket file if it is still the one we made; say whether it was."""
    try:
        with _locked_directory(path) as directory:
            if _inode(path, directory) != inode:
                return False
            os.unlink(os.path.basename(path), dir_fd=directory)
            return True
    except (OSError, CouldNotStart):
        # Gone, replaced, or its directory closed to us by now. What is left refuses connections
        # and is replaced by the next start.
        return False


def _bind(sock: socket.socket, path: str, directory: int, permissions: int) -> Inode:
    # bind() gives the file the mode 0777 less the umask. A chmod afterwards would be too late: a
    # connection made in between stays. The umask is everybody's: listeners are opened before any
    # thread is started.
    before = os.umask(0o777 & ~permissions)
    try:
        sock.bind(path)
    finally:
        os.umask(before)
    return _inode(path, directory)


def _clear(path: str, directory: int) -> None:
    """Make way at ``path``: nothing there, or a socket nobody listens on any more."""
    try:
        found = os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(path, error) from error
    if not stat.S_ISSOCK(found.st_mode):
        raise CouldNotStart(
            f"unix:{path} cannot be listened on: something that is not a socket is there; "
            f"move it away or choose another path with --uds"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue must not hold us: it is alive, and that is enough
        outcome = probe.connect_ex(path)
        if outcome in (0, errno.EAGAIN, errno.EINPROGRESS):
            owner = _owner(probe, path)
            raise AddressInUse(
                f"unix:{path} is in use by {owner}: stop it or choose another path with --uds"
            )
    if outcome == errno.ENOENT:
        return
    if outcome != errno.ECONNREFUSED:
        # EACCES: another user's. EPROTOTYPE: a datagram socket. Neither can be shown to be dead.
        raise CouldNotStart(
            f"unix:{path} belongs to user id {found.st_uid} and cannot be probed "
            f"({os.strerror(outcome)}): remove it or choose another path with --uds"
        )
    try:
        os.unlink(os.path.basename(path), dir_fd=directory)
    except FileNotFoundError:
        pass  # its owner was just then closing it
    except OSError as error:
        raise _refusal(path, error) from error


def _owner(probe: socket.socket, path: str) -> str:
    try:
        pid = peer_credentials(probe).pid
    except ProtocolError:
        pid = None  # not connected: its queue is full
    # The pid is of whoever called listen(): it may have handed the socket on and ended since.
    if pid is not None and os.path.exists(f"/proc/{pid}"):
        return owners.describe_owner(pid)
    found = owners.owner_of_path(path)
    return found if pid is None or found.startswith("pid ") else owners.describe_owner(pid)


@contextmanager
def _locked_directory(path: str) -> Iterator[int]:
    """Hold the lock of the directory of ``path``.

    The directory itself is locked: no file is left behind, and none can be planted for us.
    """
    try:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CouldNotStart(
                        f"unix:{path} cannot be listened on: another process keeps a lock on its "
                        f"directory; choose another path with --uds"
                    ) from None
                time.sleep(LOCK_RETRY)  # flock has no time limit of its own
            except OSError as error:
                raise _refusal(path, error) from error
        yield directory
    finally:
        os.close(directory)


def _inode(path: str, directory: int) -> Inode:
    found = os.stat(os.path.basename(path), dir_fd=directory, follow_symlinks=False)
    return Inode(found.st_dev, found.st_ino)


def _refusal(path: str, error: OSError) -> CouldNotStart:
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE:
            return AddressInUse(
                f"unix:{path} was just taken by another process: choose another path with --uds"
            )
        case errno.ENOENT | errno.ENOTDIR:
            advice = f"make the directory {os.path.dirname(path) or '.'!r} first"
        case errno.EACCES | errno.EPERM:
            advice = "this user must be able to read and write its directory"
        case _:
            advice = "choose another path with --uds"
    return CouldNotStart(f"unix:{path} cannot be listened on ({reason}): {advice}")
