"""Find the directory for control sockets, claim a name in it, and see which names are alive.

What is alive is said by the kernel: the owner of a name holds a lock that ends with its process.
Files that a killed primary left behind mean nothing and are removed.

    <runtime>/<cluster name>/ control.sock  lock  info.json
"""

import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tercio.errors import ConfigError, CouldNotStart, RuntimeDirRefused
from tercio.system import proc
from tercio.system.binds import check_unix_path
from tercio.system.private import DIRECTORY, Unavailable, open_private, refused

CONTROL, LOCK, INFO = "control.sock", "lock", "info.json"
ADMIN_TOKEN = "admin.token"
"""The token of the admin API that was made where no option names a file of tokens."""
PROTOCOL = 1
"""Version of what is said over the control socket."""

_NEW_INFO = "info.json.new"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOCKS_OF_WORKERS = re.compile(r"bridge|offload-[0-9]+\.lock")
"""Files that mean something only while somebody holds them."""
_INFO_BYTES = 65536
_CLAIM_TRIES = 1000  # each lost to somebody who has the lock for an instant, to look at it
_CLAIM_PAUSE = 0.002  # seconds
# A FIFO planted in place of a file must not hold us: hence O_NONBLOCK.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Claim:
    """A cluster name that belongs to this process until it ends or lets go."""

    name: str
    path: str
    directory: int
    lock: int

    @property
    def control_path(self) -> str:
        return os.path.join(self.path, CONTROL)

    def write_info(self, info: Mapping[str, object]) -> None:
        """Tell others about the cluster: a reader sees the old text or the new one."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FILE
        try:
            fd = os.open(_NEW_INFO, flags, 0o600, dir_fd=self.directory)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(info, file)
            os.rename(_NEW_INFO, INFO, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except OSError as error:
            raise refused(self.path, f"it cannot be written to ({error.strerror})") from error

    def release(self) -> None:
        """Remove what is ours and free the name. The end of the process frees it as well."""
        with suppress(OSError):  # somebody has put files of their own there
            _remove_leftovers(self.directory)
            # First: who finds the directory locked and no lock in it takes it for a cluster.
            fcntl.flock(self.directory, fcntl.LOCK_UN)
            with suppress(FileNotFoundError):  # somebody has removed it
                os.unlink(LOCK, dir_fd=self.directory)
            os.rmdir(self.path)
        os.close(self.lock)
        os.close(self.directory)


@dataclass(frozen=True, slots=True)
class RunDir:
    """A directory that only this user can change."""

    path: str

    def claim(self, name: str) -> Claim:
        """Take ``name`` for this process; refused with the owner's pid while another one has it."""
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise ConfigError(
                f"name {name!r} cannot be used: 1 to 64 letters, digits, dots, dashes and "
                f"underscores are allowed"
            )
        path = os.path.join(self.path, name)
        check_unix_path(os.path.join(path, CONTROL), "choose a shorter one with --runtime-dir")
        for _ in range(_CLAIM_TRIES):
            directory = open_private(path)
            try:
                lock = _take_lock(directory, path, name)
            except BaseException:
                os.close(directory)
                raise
            if lock is not None:
                claim = Claim(name, path, directory, lock)
                try:
                    _remove_leftovers(directory)
                except OSError as error:
                    claim.release()
                    why = (
                        f"{error.filename} is in the way" if error.filename else str(error.strerror)
                    )
                    raise refused(path, why) from error
                return claim
            os.close(directory)
            time.sleep(_CLAIM_PAUSE)  # flock has no time limit of its own
        raise CouldNotStart(f"the lock in {path} is never free for long: choose another --name")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster whose primary is alive. ``info`` is what it wrote, {} until then."""

    name: str
    path: str
    pid: int | None
    info: Mapping[str, object]

    @property
    def control_path(self) -> str:
        return os.path.join(self.path, CONTROL)


def find(option: str = "", environ: Mapping[str, str] | None = None) -> RunDir:
    """Return the first place that can be used, made if needed.

    A place that somebody chose must do. Of those that are only customary, one that cannot be had is
    passed over, but one below a shared directory that is not ours is refused: somebody put it there
    to be used.
    """
    variables = os.environ if environ is None else environ
    if chosen := option or _service_directory(variables):
        os.close(open_private(chosen, mode_matters=False))
        return RunDir(os.path.abspath(chosen))
    tried = places("", variables)
    shared = _shared_places(variables)
    for place in tried:
        if place not in shared and not _is_ours(os.path.dirname(place), place):
            continue
        try:
            os.close(open_private(place, mode_matters=False))
        except Unavailable:
            continue
        return RunDir(place)
    raise RuntimeDirRefused(
        f"no runtime directory can be made (tried {', '.join(tried)}): "
        f"choose one with --runtime-dir"
    )


def places(option: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    """Return where a cluster of this user may be, in the order in which `find` tries them."""
    variables = os.environ if environ is None else environ
    if option:
        return [os.path.abspath(option)]
    found = []
    if service := _service_directory(variables):
        found.append(os.path.abspath(service))
    if os.path.isabs(session := variables.get("XDG_RUNTIME_DIR", "")):
        found.append(os.path.join(session, "tercio"))
    found.append("/run/tercio")
    return list(dict.fromkeys(found + _shared_places(variables)))


def clusters(places: Iterable[str], *, of_others: bool = False) -> list[Cluster]:
    """Return the clusters alive in these directories; what is not ours is not looked at.

    ``of_others`` looks all the same, for root who was told where.
    """
    return [cluster for place in dict.fromkeys(places) for cluster in _alive_in(place, of_others)]


def _service_directory(environ: Mapping[str, str]) -> str:
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0]  # systemd may name several


def _shared_places(environ: Mapping[str, str]) -> list[str]:
    bases = [environ.get("TMPDIR", ""), "/tmp", "/var/tmp", "/dev/shm"]
    name = f"tercio-{os.geteuid()}"
    return [os.path.join(base, name) for base in bases if os.path.isabs(base)]


def _is_ours(parent: str, place: str) -> bool:
    """Whether a customary place is this user's: itself, or the directory it would be made in.

    After `su` or `sudo` XDG_RUNTIME_DIR is often still the other user's.
    """
    for path in (place, parent):
        with suppress(OSError):
            return os.lstat(path).st_uid == os.geteuid()
    return False


def _take_lock(directory: int, path: str, name: str) -> int | None:
    """Take the lock in a cluster's directory; None if that must be tried again from the start.

    The directory is locked as well: a cleaner of old files may remove the lock of a cluster that
    runs, and those that look at locks (systemd-tmpfiles) pass over a directory that has one.
    """
    if not _lock_directory(directory):
        # Somebody who only looks shares it for an instant.
        if _locked(directory, fcntl.LOCK_SH):
            return None
        raise _is_taken(name, directory)
    try:
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=directory)
    except FileNotFoundError:
        return None  # its last owner removed the directory after we opened it
    except OSError as error:
        raise refused(path, f"its lock cannot be opened ({error.strerror})") from error
    try:
        found = os.fstat(lock)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
            raise refused(path, "its lock is not a file of ours")
        if not _locked(lock, fcntl.LOCK_EX):
            # A mere look at the lock (`clusters`) shares it for an instant. An owner does not.
            if _locked(lock, fcntl.LOCK_SH):
                os.close(lock)
                return None
            raise _is_taken(name, directory)
        if not _is_at(directory, found):
            os.close(lock)
            return None  # its last owner removed it after we opened it
        os.pwrite(lock, f"{os.getpid():<20}\n".encode(), 0)
    except OSError as error:
        os.close(lock)
        raise refused(path, f"its lock cannot be taken ({error.strerror})") from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _is_at(directory: int, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(found, os.stat(LOCK, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_directory(directory: int) -> bool:
    """Lock a directory; False if somebody else has it."""
    try:
        return _locked(directory, fcntl.LOCK_EX)
    except OSError:
        return True  # network file systems lock no directories; there the file alone decides


def _is_taken(name: str, directory: int) -> CouldNotStart:
    pid = _pid_at(directory)
    owner = "another process" if pid is None else proc.describe(pid)
    return CouldNotStart(
        f"cluster {name!r} is already run by {owner}: stop it, or choose another name with --name"
    )


def _pid_at(directory: int) -> int | None:
    """The pid that the owner wrote into its lock, or into the info where the lock is gone."""
    try:
        with open(os.open(LOCK, os.O_RDONLY | _FILE, dir_fd=directory), "rb") as lock:
            return _pid_in(lock.fileno())
    except FileNotFoundError:
        pid = _read_info(directory).get("pid")
        return pid if type(pid) is int else None
    except OSError:
        return None  # it is not a file of ours


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _remove_leftovers(directory: int) -> None:
    names = [name for name in os.listdir(directory) if _LOCKS_OF_WORKERS.fullmatch(name)]
    for name in (CONTROL, INFO, _NEW_INFO, ADMIN_TOKEN, *names):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def _alive_in(place: str, of_others: bool) -> Iterator[Cluster]:
    with _opened(place, of_others) as parent:
        if parent is None:
            return
        for name in sorted(os.listdir(parent)):
            if not _NAME.fullmatch(name):
                continue
            with _opened(name, of_others, parent) as directory:
                if directory is None or (pid := _owner_of(directory)) is None:
                    continue
                path = os.path.join(place, name)
                yield Cluster(name, path, pid or None, _read_info(directory))


@contextmanager
def _opened(path: str, of_others: bool, parent: int | None = None) -> Iterator[int | None]:
    """Open a directory if it is ours or may be somebody else's, else yield None."""
    directory = None
    try:
        with suppress(OSError):
            directory = os.open(path, DIRECTORY, dir_fd=parent)
        if directory is None or of_others or os.fstat(directory).st_uid == os.geteuid():
            yield directory
        else:
            yield None
    finally:
        if directory is not None:
            os.close(directory)


def _owner_of(directory: int) -> int | None:
    """Return the pid of the lock's holder, 0 if it has not written it yet, None if it is free."""
    try:
        lock = os.open(LOCK, os.O_RDONLY | _FILE, dir_fd=directory)
    except FileNotFoundError:
        with suppress(OSError):  # a file system without locks for directories
            if not _locked(directory, fcntl.LOCK_SH):
                return _pid_at(directory) or 0
        return None
    except OSError:
        return None
    try:
        return None if _locked(lock, fcntl.LOCK_SH) else _pid_in(lock) or 0
    except OSError:
        return None
    finally:
        os.close(lock)


def _read_info(directory: int) -> Mapping[str, object]:
    try:
        with open(os.open(INFO, os.O_RDONLY | _FILE, dir_fd=directory), "rb") as file:
            info = json.loads(file.read(_INFO_BYTES))
    except (OSError, ValueError):
        return {}  # not written yet
    return info if isinstance(info, dict) else {}
