"""Say on what kind of file system a path lies."""

import os
from typing import Final

_MOUNTS: Final = "/proc/self/mountinfo"

NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs",
        "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
        "ocfs2", "orangefs", "smb3", "smbfs",
    }
)  # fmt: skip
"""Here locks, or what one process maps and another writes, do not always mean what they say."""

MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def kind_of(path: str, mounts: str = _MOUNTS) -> str | None:
    """The type of the file system that ``path`` is on; None where nobody tells (no Linux)."""
    path = os.path.realpath(path)
    found: tuple[int, str] | None = None
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                point, kind = _parse(line)
                # The last of those that cover each other is on top.
                if _is_below(path, point) and (found is None or len(point) >= found[0]):
                    found = len(point), kind
    except OSError:
        return None
    return None if found is None else found[1]


def _parse(line: str) -> tuple[str, str]:
    # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
    place, _, kind = line.partition(" - ")
    point = place.split(" ")[4]
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point, kind.split(" ", 1)[0]


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
