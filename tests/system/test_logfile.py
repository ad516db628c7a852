"""Log files of a cluster whose workers are another user: no way leads where they may not go."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tercio.errors import ConfigError
from tercio.system import logfile
from tercio.system.identity import Identity, rights_of

NOBODY = Identity(65534, 65534, (65534,))

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can have another user's rights"
)


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A directory of that user, which can be reached."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    os.chown(directory, NOBODY.uid, NOBODY.gid)
    opened = [place for place in tmp_path.parents if not place.stat().st_mode & stat.S_IXOTH]
    for place in (tmp_path, *opened):
        place.chmod(place.stat().st_mode | stat.S_IXOTH)
    yield directory
    for place in opened:
        place.chmod(place.stat().st_mode & ~stat.S_IXOTH)


def open_and_close(path: Path) -> os.stat_result:
    os.close(logfile.open_log(str(path), NOBODY))
    return path.stat()


def test_a_new_file_is_theirs_where_they_may_make_one(theirs: Path) -> None:
    assert open_and_close(theirs / "app.log").st_uid == NOBODY.uid
    assert os.geteuid() == 0
    assert os.getegid() == 0
    assert open_and_close(theirs / "app.log").st_size == 0, "the second time it is there"


def test_a_directory_that_they_made_a_link_leads_nowhere(theirs: Path, tmp_path: Path) -> None:
    roots = tmp_path / "profile.d"
    roots.mkdir(mode=0o755)
    (theirs / "log").symlink_to(roots)
    with pytest.raises(PermissionError):
        logfile.open_log(str(theirs / "log" / "shop.sh"), NOBODY)
    (theirs / "shop.sh").symlink_to(roots / "shop.sh")
    with pytest.raises(OSError, match="symbolic link"):
        logfile.open_log(str(theirs / "shop.sh"), NOBODY)
    # Nor does a link of root's that leads over theirs.
    (tmp_path / "over").symlink_to(theirs / "log")
    with pytest.raises(PermissionError):
        logfile.open_log(str(tmp_path / "over" / "shop.sh"), NOBODY)
    assert list(roots.iterdir()) == []


def test_a_file_that_only_root_may_write_is_not_taken_for_theirs(theirs: Path) -> None:
    secret = theirs / "kept.log"
    secret.touch(mode=0o600)
    with pytest.raises(PermissionError):
        logfile.open_log(str(secret), NOBODY)
    hard = theirs / "hard.log"
    hard.hardlink_to(secret)
    with pytest.raises(PermissionError):
        logfile.open_log(str(hard), NOBODY)


def test_in_a_directory_of_root_the_file_is_made_for_them(roots: Path) -> None:
    assert open_and_close(roots / "shop.log").st_uid == NOBODY.uid
    with rights_of(NOBODY):
        os.close(logfile.open_log(str(roots / "shop.log")))
    # The way there may hold links of root's.
    (roots / "link").symlink_to(roots)
    assert open_and_close(roots / "link" / "other.log").st_uid == NOBODY.uid
    (roots / "near").symlink_to("../" + roots.name)
    assert open_and_close(roots / "near" / "third.log").st_uid == NOBODY.uid
    (roots / "round").symlink_to("round")
    with pytest.raises(OSError, match="levels of symbolic links"):
        logfile.open_log(str(roots / "round" / "a.log"), NOBODY)


def test_not_in_one_that_their_group_or_a_list_lets_them_change(roots: Path) -> None:
    grouped = roots / "grouped"
    grouped.mkdir()
    os.chown(grouped, 0, 7)
    grouped.chmod(0o2775)
    member = Identity(NOBODY.uid, NOBODY.gid, (NOBODY.gid, 7))
    inner = grouped / "inner"
    inner.mkdir(mode=0o755)
    inner.chmod(0o755)
    with pytest.raises(PermissionError):
        logfile.open_log(str(inner / "a.log"), member)
    os.close(logfile.open_log(str(inner / "a.log"), NOBODY))
    listed = roots / "listed" / "inner"
    listed.mkdir(parents=True, mode=0o755)
    if sys.platform == "linux":
        # user::rwx, user:65534:rwx, group::r-x, mask::rwx, other::r-x (linux/posix_acl_xattr.h)
        entries = ((1, 7, 2**32 - 1), (2, 7, NOBODY.uid), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1),
                   (32, 5, 2**32 - 1))  # fmt: skip
        packed = b"".join(
            tag.to_bytes(2, "little") + may.to_bytes(2, "little") + who.to_bytes(4, "little")
            for tag, may, who in entries
        )
        os.setxattr(listed.parent, "system.posix_acl_access", (2).to_bytes(4, "little") + packed)
        with pytest.raises(PermissionError):
            logfile.open_log(str(listed / "a.log"), NOBODY)


def test_the_error_says_whose_rights_are_missing(theirs: Path) -> None:
    kept = theirs / "kept.log"
    kept.touch(mode=0o600)
    with pytest.raises(ConfigError, match=r"kept\.log: it cannot be opened; Permission denied"):
        logfile.check("--error-log-file", str(kept), NOBODY)


@pytest.fixture
def roots() -> Iterator[Path]:
    """A directory that only root may change, up to the root."""
    directory = Path("/var/lib") / f"tercio-test-{os.getpid()}"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    yield directory
    subprocess.run(["rm", "-rf", str(directory)], check=True)
