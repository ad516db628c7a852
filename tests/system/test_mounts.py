"""On what kind of file system a path lies."""

import sys
from pathlib import Path

import pytest

from tercio.system import mounts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mountinfo tells what is mounted")


def test_the_kernels_own_file_systems_are_known() -> None:
    assert mounts.kind_of("/proc/self") == "proc"
    assert mounts.kind_of("/proc/") == "proc"
    assert mounts.kind_of("/") not in (None, "proc")


def test_the_innermost_and_last_mount_counts(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /srv rw shared:1 - nfs server:/ rw\n"
        "3 2 0:6 / /srv/local rw - tmpfs none rw\n"
        "4 1 0:7 / /srv rw master:3 propagate_from:2 - cifs //server/x rw\n"
    )
    assert mounts.kind_of("/srv/local/x", str(table)) == "tmpfs"
    assert mounts.kind_of("/srv/x", str(table)) == "cifs"
    assert mounts.kind_of("/srvx", str(table)) == "ext4"


def test_without_a_table_nothing_is_known() -> None:
    assert mounts.kind_of("/", "/nowhere/mountinfo") is None
