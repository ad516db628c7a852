"""--umask, --chdir and --pid-file: where a cluster runs, and how others find it."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.harness import DEFAULT_APP, QUICK, Cluster

WRITING = DEFAULT_APP.replace('    body = f"', '    open("made", "w").close()\n    body = f"')


def test_files_of_workers_get_the_mask(cluster: Cluster) -> None:
    cluster.write_app(WRITING)
    cluster.start("-w", "1", "--umask", "027")
    cluster.get()
    mode = (cluster.directory / "made").stat().st_mode
    assert stat.S_IMODE(mode) == 0o640


@pytest.mark.parametrize("mask", ["27", "0o999", "rw"])
def test_a_mask_that_is_none_is_refused(cluster: Cluster, mask: str) -> None:
    cluster.start("--umask", mask, wait="")
    assert cluster.wait_end() == 2
    assert "an octal mask" in "\n".join(cluster.lines)


def test_workers_run_in_another_directory_and_paths_are_meant_from_there(cluster: Cluster) -> None:
    site = cluster.directory / "site"
    site.mkdir()
    (site / "app.py").write_text(WRITING)
    (cluster.directory / "tercio.toml").write_text('chdir = "site"\npid-file = "pid"\n')
    cluster.start("-w", "1", *QUICK)
    cluster.get()
    assert (site / "made").exists()
    assert (site / "pid").read_text() == f"{cluster.pid}\n"
    assert cluster.ask("reload", wait=True)["generation"] == 2
    assert "CHDIR" not in cluster.story()


def test_a_directory_that_is_not_there_is_a_configuration_error(cluster: Cluster) -> None:
    cluster.start("--chdir", "nowhere", wait="")
    assert cluster.wait_end() == 2
    assert "--chdir 'nowhere': expected a directory" in "\n".join(cluster.lines)


def test_a_release_behind_a_link_is_entered_anew_by_each_generation(cluster: Cluster) -> None:
    for name in ("one", "two"):
        (cluster.directory / name).mkdir()
        (cluster.directory / name / "app.py").write_text(cluster.release(name))
    link = cluster.directory / "current"
    link.symlink_to("one")
    cluster.start("-w", "1", "--chdir", "current", *QUICK)
    assert cluster.get().text.startswith("one")
    link.unlink()
    link.symlink_to("two")
    cluster.ask("reload", wait=True)
    assert cluster.get().text.startswith("two")


def test_the_pid_file_lives_as_long_as_the_cluster(cluster: Cluster) -> None:
    file = cluster.directory / "pid"
    old = os.umask(0o077)
    try:
        cluster.start("-w", "1", "--pid-file", "pid")
    finally:
        os.umask(old)
    assert file.read_text() == f"{cluster.pid}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert cluster.stop() == 0
    assert not file.exists()
    assert [path.name for path in cluster.directory.glob("pid*")] == []


def test_the_file_of_a_cluster_that_lives_is_refused_and_kept(
    new_cluster: Callable[[], Cluster],
) -> None:
    first, second = new_cluster(), new_cluster()
    file = first.directory / "pid"
    first.start("-w", "1", "--pid-file", str(file))
    second.start("-w", "1", "--pid-file", str(file), wait="")
    assert second.wait_end() == 1
    assert f"names process {first.pid}, which runs" in "\n".join(second.lines)
    assert file.read_text() == f"{first.pid}\n"


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("content", ["gone", "reused", ""])
def test_a_stale_file_is_replaced(cluster: Cluster, content: str) -> None:
    file = cluster.directory / "pid"
    if content == "reused":
        file.write_text(f"{os.getpid()}\n")
        os.utime(file, (1.0, 1.0))  # written long before the process with this number began
    else:
        file.write_text(f"{ended_process()}\n" if content else "")
    cluster.start("-w", "1", "--pid-file", "pid")
    assert file.read_text() == f"{cluster.pid}\n"


def test_a_file_that_is_no_pid_file_is_left_alone(cluster: Cluster) -> None:
    file = cluster.directory / "pid"
    file.write_text("my only copy of the thesis")
    cluster.start("-w", "1", "--pid-file", "pid", wait="")
    assert cluster.wait_end() == 1
    assert "there is a file that is no pid file" in "\n".join(cluster.lines)
    assert file.read_text() == "my only copy of the thesis"


@pytest.mark.parametrize("place", ["nowhere/pid", "fifo"])
def test_a_place_where_there_can_be_none_is_told(cluster: Cluster, place: str) -> None:
    os.mkfifo(cluster.directory / "fifo")
    cluster.start("-w", "1", "--pid-file", place, wait="")
    assert cluster.wait_end() == 1
    assert "--pid-file" in "\n".join(cluster.lines)


def test_a_file_that_became_anothers_is_not_removed(cluster: Cluster) -> None:
    file: Path = cluster.directory / "pid"
    cluster.start("-w", "1", "--pid-file", "pid")
    file.write_text("1\n")
    assert cluster.stop() == 0
    assert file.read_text() == "1\n"
