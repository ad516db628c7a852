"""The directory of the shared state: made for the cluster's life, or kept where it was asked for.

The primary makes it, locks it and removes it; it never opens the store. Whose it is the kernel
says, by a lock that ends with the primary: directories that a killed one left are removed by the
next cluster that looks for a place there.

    <directory>/ lock  layout.json  writer  data.mdb  lock.mdb
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Final

from tercio.config import Config
from tercio.errors import CouldNotStart
from tercio.system import cgroup, mounts, proc
from tercio.system.identity import Identity

FORMAT: Final = 2
"""Of what `engines.embedded.records` describes; a directory of another one is refused."""

LOCK: Final = "lock"
LAYOUT: Final = "layout.json"

ENGINE_VARIABLE: Final = "TERCIO_STATE_ENGINE"
"""lmdb or sqlite, for tests and for platforms that we do not know."""

_LARGEST: Final = 256 << 20
_SMALLEST: Final = 4 << 20
"""Bytes that a place must have for us, unless --state-size says what will do."""

_LMDB_LOCK_BYTES: Final = 128 << 10
_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class StateDir:
    """A directory that is this cluster's until `release`, or the end of this process."""

    path: str
    engine: str
    size: int
    sync: str
    epoch: float
    """Wall clock less monotonic clock, once: the state's time goes on from it, see `open_state`."""
    is_kept: bool
    lock: int

    def to_record(self) -> dict[str, object]:
        """What a process opens it by."""
        return {
            "engine": self.engine,
            "path": self.path,
            "size": self.size,
            "sync": self.sync,
            "epoch": self.epoch,
        }

    def release(self) -> None:
        """Let it go, and remove it unless it was asked for by name."""
        if not self.is_kept:
            _remove(self.path)
            with suppress(OSError):  # others have theirs there
                os.rmdir(os.path.dirname(self.path))
        os.close(self.lock)


def customary_bases() -> tuple[str, ...]:
    """Where directories for a cluster's life are made, if not beside its control socket."""
    return ("/dev/shm", os.environ.get("TMPDIR", ""), "/tmp")


def open_statedir(
    config: Config,
    runtime: str,
    identity: Identity | None,
    *,
    bases: Sequence[str] | None = None,
    kind_of: Callable[[str], str | None] = mounts.kind_of,
) -> StateDir:
    """Make or open the directory; ``runtime`` is where clusters of this user are.

    Raises `CouldNotStart`.
    """
    if config.state_dir:
        path = os.path.abspath(config.state_dir)
        return _open_kept(path, config, identity, kind_of)
    if bases is None:
        bases = customary_bases()
    refusals = []
    for parent, base in _places(runtime, identity, bases):
        try:
            try:
                return _make(parent, base, config, identity)
            except FileNotFoundError:  # its last user removed it just then
                return _make(parent, base, config, identity)
        except (OSError, CouldNotStart) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise CouldNotStart(
                    "Too many open files: raise `ulimit -n`; each process that may run takes "
                    "one descriptor (see --max-workers, --attached)"
                ) from error
            refusals.append(f"{parent}: {error}")
    raise CouldNotStart(
        f"there is no place for the shared state ({'; '.join(refusals)}): choose a directory with "
        "--state-dir"
    )


def _open_kept(
    path: str,
    config: Config,
    identity: Identity | None,
    kind_of: Callable[[str], str | None],
) -> StateDir:
    owner = os.geteuid() if identity is None else identity.uid
    try:
        with suppress(FileExistsError):
            os.makedirs(path, 0o700)
            _give(path, identity)
        found = os.stat(path)
    except OSError as error:
        raise _refused(path, f"it cannot be made ({error.strerror})") from error
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(path, "it is no directory")
    if found.st_uid != owner:
        raise _refused(path, f"it belongs to user id {found.st_uid}, not {owner}")
    if found.st_mode & 0o022:
        raise _refused(
            path, f"other users can write to it (mode {stat.S_IMODE(found.st_mode):04o})"
        )
    if (kind := kind_of(path)) in mounts.NETWORK:
        raise _refused(
            path, f"it is on a network file system ({kind}), whose locks cannot be relied on"
        )
    try:
        lock = _lock(path)
    except OSError as error:
        raise _refused(path, f"its lock cannot be opened ({error.strerror})") from error
    try:
        if not _is_locked_by_us(lock):
            text = os.pread(lock, 32, 0).strip()
            owned_by = proc.describe(int(text)) if text.isdigit() else "another cluster"
            raise _refused(path, f"it is used by {owned_by}")
        os.pwrite(lock, f"{os.getpid():<20}\n".encode(), 0)
        engine = _checked_layout(path, identity)
        _make_files(path, engine, identity)
        size = config.state_size or _default_size(path, _used(path))
        return StateDir(path, engine, size, config.state_sync, _epoch(path), True, lock)
    except OSError as error:
        os.close(lock)
        raise _refused(path, f"it cannot be written to ({error.strerror})") from error
    except BaseException:
        os.close(lock)
        raise


def _make(parent: str, base: str, config: Config, identity: Identity | None) -> StateDir:
    size = config.state_size or _default_size(base)
    if size < _SMALLEST and not config.state_size:
        raise CouldNotStart(f"only {2 * size >> 20} MiB are free")
    # Workers of another user pass through it; they cannot look into it.
    mode = 0o700 if identity is None else 0o711
    with suppress(FileExistsError):
        os.mkdir(parent, mode)
    found = os.lstat(parent)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CouldNotStart("it is there, and not this user's alone")
    if identity is not None:
        os.chmod(parent, mode)
    engine = _engine()
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # For an instant, as everybody: what is made and not locked yet looks like a leftover.
        fcntl.flock(directory, fcntl.LOCK_EX)
        _remove_leftovers(parent)
        path = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent)
        try:
            lock = _lock(path)
            _is_locked_by_us(lock)
            _give(path, identity)
            _make_files(path, engine, identity)
        except BaseException:
            _remove(path)
            raise
    finally:
        os.close(directory)
    # There is no disk that a power loss would spare.
    return StateDir(path, engine, size, "none", _epoch(), False, lock)


def _places(
    runtime: str, identity: Identity | None, bases: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Directories to make ours in, and what they are made in."""
    if identity is None and mounts.kind_of(runtime) in mounts.MEMORY:
        yield os.path.join(runtime, ".state"), runtime
    name = f"tercio-{os.geteuid()}-state"
    for base in bases:
        if os.path.isabs(base) and os.path.isdir(base):
            yield os.path.join(base, name), base


def _remove_leftovers(parent: str) -> None:
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        try:
            lock = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            _remove(path)
            continue
        except OSError:
            continue
        try:
            if _is_locked_by_us(lock):
                _remove(path)
        finally:
            os.close(lock)


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)  # what stays is a leftover for the next one


def _lock(path: str) -> int:
    return os.open(os.path.join(path, LOCK), _FILE, 0o600)


def _is_locked_by_us(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _checked_layout(path: str, identity: Identity | None) -> str:
    """The engine that the directory is of, which it is from its first use on."""
    file = os.path.join(path, LAYOUT)
    try:
        with open(file, encoding="utf-8") as lines:
            layout = json.load(lines)
    except FileNotFoundError:
        engine = _engine()
        new = f"{file}.new"
        with open(new, "w", encoding="utf-8") as lines:
            json.dump({"format": FORMAT, "engine": engine}, lines)
        _give(new, identity)
        os.rename(new, file)
        return engine
    except ValueError as error:
        raise _refused(path, f"its {LAYOUT} cannot be read ({error})") from error
    if not isinstance(layout, dict) or layout.get("format") != FORMAT:
        raise _refused(path, "it was written by another version of Tercio")
    engine = str(layout.get("engine"))
    if engine not in ("lmdb", "sqlite") or os.environ.get(ENGINE_VARIABLE, engine) != engine:
        raise _refused(path, f"its state is kept by {engine}")
    return engine


def _engine() -> str:
    # On macOS LMDB locks by POSIX semaphores, which a process that is killed never releases.
    default = "lmdb" if sys.platform == "linux" else "sqlite"
    engine = os.environ.get(ENGINE_VARIABLE, default)
    if engine not in ("lmdb", "sqlite"):
        raise CouldNotStart(f"{ENGINE_VARIABLE} is {engine!r}: expected lmdb or sqlite")
    return engine


def _make_files(path: str, engine: str, identity: Identity | None) -> None:
    _give(os.path.join(path, LOCK), identity)
    if engine != "lmdb" or not hasattr(os, "posix_fallocate"):
        return
    # LMDB maps it and writes to the mapping: without its pages a full tmpfs is a SIGBUS. The
    # data are written by calls, which fail with an error.
    file = os.path.join(path, "lock.mdb")
    descriptor = os.open(file, _FILE, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _LMDB_LOCK_BYTES)
    finally:
        os.close(descriptor)
    _give(file, identity)


def _give(path: str, identity: Identity | None) -> None:
    if identity is not None:
        os.chown(path, identity.uid, identity.gid)


def _default_size(path: str, used: int = 0) -> int:
    """Half of what is free; what the state has already is as good as free."""
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize + used
    headroom = cgroup.limits().memory_headroom
    if headroom is not None and mounts.kind_of(path) in mounts.MEMORY:
        free = min(free, headroom)
    return min(_LARGEST, free // 2)


def _used(path: str) -> int:
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(path) if entry.is_file())


def _epoch(path: str = "") -> float:
    """Time never goes back: a clock that was set back, or once went ahead, makes no lock eternal.

    When something was written last is as late as it was in the state.
    """
    with os.scandir(path) if path else nullcontext(()) as entries:
        written = [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
    return max(time.time(), *written, 0.0) - time.monotonic()


def _refused(path: str, reason: str) -> CouldNotStart:
    return CouldNotStart(
        f"state directory {path!r} cannot be used: {reason}; choose another with --state-dir"
    )
