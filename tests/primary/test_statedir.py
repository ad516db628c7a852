"""Where the shared state lies, whose it is, and what is left of it."""

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tercio.config import Config
from tercio.errors import CouldNotStart
from tercio.primary import statedir
from tercio.primary.statedir import StateDir, open_statedir
from tercio.system.identity import Identity

RUNTIME = "/nowhere"  # not in memory, so not chosen

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


Opener = Callable[..., AbstractContextManager[StateDir]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where directories for a cluster's life are made."""
    place = tmp_path / "base"
    place.mkdir()
    return place


@pytest.fixture
def opened(base: Path) -> Opener:
    """Open a directory and let it go at the end."""

    @contextmanager
    def open_and_release(
        identity: Identity | None = None, others: Sequence[str] = (), **options: object
    ) -> Iterator[StateDir]:
        config = Config(**options)  # type: ignore[arg-type]
        found = open_statedir(config, RUNTIME, identity, bases=(str(base), *others))
        try:
            yield found
        finally:
            found.release()

    return open_and_release


def test_the_directory_is_private_and_gone_at_the_end(base: Path, opened: Opener) -> None:
    with opened() as found:
        path = Path(found.path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in path.iterdir())
        assert 4 << 20 <= found.size <= 256 << 20
        assert found.sync == "none"
        assert json.loads(json.dumps(found.to_record())) == found.to_record()
    assert list(base.iterdir()) == []


def test_two_clusters_have_two_directories(opened: Opener) -> None:
    with opened() as first, opened() as second:
        assert first.path != second.path
        assert os.path.isdir(first.path)


def test_what_a_killed_primary_left_is_removed_and_what_lives_is_not(
    base: Path, opened: Opener
) -> None:
    told, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        found = open_statedir(Config(), RUNTIME, None, bases=[str(base)])
        os.write(theirs, found.path.encode())
        signal.pause()
    left = os.read(told, 4096).decode()
    with opened():
        assert os.path.isdir(left)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with opened():
        assert not os.path.exists(left)
    for descriptor in (told, theirs):
        os.close(descriptor)


def test_a_place_that_others_prepared_is_passed_over(base: Path, opened: Opener) -> None:
    parent = base / f"tercio-{os.geteuid()}-state"
    parent.mkdir()
    parent.chmod(0o777)
    other = base.parent / "other"
    other.mkdir()
    with opened(others=[str(other)]) as found:
        assert not found.path.startswith(str(parent))


def test_a_kept_directory_stays_and_remembers_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opener
) -> None:
    path = tmp_path / "kept"
    monkeypatch.setenv(statedir.ENGINE_VARIABLE, "sqlite")
    with opened(state_dir=str(path), state_size=1 << 20) as found:
        assert (found.engine, found.size, found.sync) == ("sqlite", 1 << 20, "interval")
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    monkeypatch.delenv(statedir.ENGINE_VARIABLE)
    with opened(state_dir=str(path)) as found:
        assert found.engine == "sqlite"
    monkeypatch.setenv(statedir.ENGINE_VARIABLE, "lmdb")
    with pytest.raises(CouldNotStart, match="kept by sqlite"), opened(state_dir=str(path)):
        pass


def test_a_kept_directory_has_one_cluster_which_is_named(tmp_path: Path, opened: Opener) -> None:
    path = str(tmp_path / "kept")
    refused = pytest.raises(CouldNotStart, match=f"used by pid {os.getpid()}")
    with opened(state_dir=path), refused:
        open_statedir(Config(state_dir=path), RUNTIME, None)
    with opened(state_dir=path):
        pass


def test_a_directory_of_another_format_is_refused(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "kept"
    with opened(state_dir=str(path)):
        pass
    (path / statedir.LAYOUT).write_text('{"format": 999, "engine": "lmdb"}')
    with pytest.raises(CouldNotStart, match="another version"), opened(state_dir=str(path)):
        pass
    (path / statedir.LAYOUT).write_text("{")
    with pytest.raises(CouldNotStart, match="cannot be read"), opened(state_dir=str(path)):
        pass


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, opened: Opener) -> None:
    path = tmp_path / "kept"
    path.mkdir()
    path.chmod(0o770)
    with pytest.raises(CouldNotStart, match="other users"), opened(state_dir=str(path)):
        pass
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CouldNotStart, match="no directory"), opened(state_dir=str(file)):
        pass


@needs_root
def test_workers_of_another_user_own_the_directory(
    base: Path, tmp_path: Path, opened: Opener
) -> None:
    nobody = Identity(65534, 65534, ())
    with opened(nobody) as found:
        path = Path(found.path)
        assert {each.stat().st_uid for each in (path, *path.iterdir())} == {65534}
        # They pass through what holds it, and see nothing in it.
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o711
    kept = tmp_path / "kept"
    with opened(nobody, state_dir=str(kept)):
        assert {each.stat().st_uid for each in (kept, *kept.iterdir())} == {65534}
    with pytest.raises(CouldNotStart, match="belongs to user id 65534"):
        open_statedir(Config(state_dir=str(kept)), RUNTIME, None)


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    config = Config(state_dir=str(tmp_path / "share"))
    for kind in ("nfs4", "cifs", "9p"):
        with pytest.raises(CouldNotStart, match=f"network file system \\({kind}\\)"):
            open_statedir(config, RUNTIME, None, kind_of=lambda path, kind=kind: kind)  # type: ignore[misc]
    for local in ("ext4", "tmpfs", None):
        open_statedir(config, RUNTIME, None, kind_of=lambda path, kind=local: kind).release()  # type: ignore[misc]


def test_the_time_of_a_kept_state_never_goes_back(tmp_path: Path, opened: Opener) -> None:
    """Else a lock would be held, and a value live, as long as the clock was set back."""
    kept = tmp_path / "kept"
    with opened(state_dir=str(kept)) as first:
        assert abs(first.epoch + time.monotonic() - time.time()) < 60.0
    written = time.time() + 1_000_000.0  # by a clock that is set back since
    (kept / "data.mdb").touch()
    os.utime(kept / "data.mdb", (written, written))
    with opened(state_dir=str(kept)) as second:
        assert written <= second.epoch + time.monotonic() < written + 60.0
    os.utime(kept / "data.mdb", (0.0, 0.0))
    with opened(state_dir=str(kept)) as third:
        assert abs(third.epoch + time.monotonic() - time.time()) < 60.0
