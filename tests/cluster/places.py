"""Commands that run another command in a place unlike the one where the tests run."""

import sys
from pathlib import Path
from typing import Final

AS_PID_1: Final = ("unshare", "--pid", "--fork", "--mount-proc")
"""A process space of its own, in which the command is the first process."""

AS_NOBODY: Final = (
    "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--no-new-privs",
    "--bounding-set=-all", "env", "-u", "HOME",
)  # fmt: skip
"""No privileges, and no home."""

_READ_ONLY: Final = """
for place in $(findmnt -rno TARGET | sort -r); do
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm
exec "$@"
"""

READ_ONLY: Final = ("unshare", "--mount", "sh", "-ec", _READ_ONLY, "sh")
"""Nothing can be written but 64 MB of shared memory, as in a hardened container."""

_OPEN_HOME: Final = """
home=$1 tree=$2 keep=$3; shift 3
mount --bind "$tree" "$keep"
mount -t tmpfs -o mode=755 tmpfs "$home"
mkdir -p "$tree"
mount --bind "$keep" "$tree"
exec "$@"
"""


def with_open_home(tmp_path: Path) -> list[str]:
    """Where everybody can read this interpreter.

    It may live below a home that only root can enter. In a mount namespace of its own an open
    directory takes that place, with the interpreter's tree inside.
    """
    real = Path(sys.executable).resolve()
    closed = [place for place in real.parents if not place.stat().st_mode & 0o001]
    if not closed:
        return []
    home = closed[-1]
    tree = home / real.relative_to(home).parts[0]
    keep = tmp_path / "keep"
    keep.mkdir()
    return ["unshare", "-m", "sh", "-ec", _OPEN_HOME, "sh", str(home), str(tree), str(keep)]
