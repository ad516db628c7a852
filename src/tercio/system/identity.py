"""Give up root: which user a worker becomes, and the proof that there is no way back."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tercio.errors import ConfigError
from tercio.system import libc


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, a group, and the other groups of that user."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def resolve(user: str, group: str) -> Identity | None:
    """Who workers are to be; None for "as the primary".

    Names and numbers are taken. Raises `ConfigError` for one that does not exist, or when this
    process may not become somebody else.
    """
    if not user and not group:
        return None
    entry = _user(user) if user else None
    gid = _group(group) if group else entry.pw_gid if entry else os.getgid()
    uid = entry.pw_uid if entry else os.getuid()
    groups = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else (gid,)
    wanted = Identity(uid, gid, groups)
    if os.geteuid() == 0 and (uid, gid) == (0, 0):
        return None
    if os.geteuid() != 0 and (uid, gid) != (os.geteuid(), os.getegid()):
        raise ConfigError(
            f"--user {user or uid} --group {group or gid}: only root may start workers as somebody "
            "else; start as root, or as that user without these options"
        )
    return wanted if os.geteuid() == 0 else None


def refuse_root(identity: Identity | None) -> None:
    """Raises `ConfigError` if workers would be root: for who asks for nothing, the safe thing."""
    if os.geteuid() != 0 or (identity is not None and identity.uid != 0):
        return
    raise ConfigError(
        "workers would run as root, and so would whatever takes one over: give them another user "
        "with --user NAME (addresses below 1024 are opened before), or start as that user; if root "
        "is meant, as in a container of your own, say --allow-root (TERCIO_ALLOW_ROOT=1)"
    )


def lock(*, is_other: bool = True) -> None:
    """Make what was given up impossible to regain, and check it. Raises `PermissionError`.

    Called in a process that is somebody else than its primary, unless ``is_other`` says no.
    """
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    rights = (*os.getresuid(), *os.getresgid(), *os.getgroups())
    if is_other and 0 in rights:
        raise PermissionError("still root after giving it up")


@contextmanager
def rights_of(identity: Identity) -> Iterator[None]:
    """Open files with their rights and no others, as root. Raises `PermissionError`.

    Nobody else gains by it: who may send signals or look into this process is asked of its real
    user, which stays.
    """
    groups, gid, uid = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(identity.groups)
    try:
        os.setegid(identity.gid)
        os.seteuid(identity.uid)
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"--user {name}: there is no such user on this machine") from None


def _group(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"--group {name}: there is no such group on this machine") from None
