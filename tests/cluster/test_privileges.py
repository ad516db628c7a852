"""A cluster that root starts: it opens the address, workers are somebody else (threat T18)."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.places import with_open_home

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can become somebody else"
)


@pytest.fixture
def open_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster in a directory that everybody may read."""
    directory = Path(tempfile.mkdtemp(prefix="tercio-test-"))
    directory.chmod(0o755)
    cluster.directory = directory
    yield cluster
    cluster.clean_up()
    shutil.rmtree(directory)


def _status(pid: int, key: str) -> list[str]:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{key}:\s*(.*)$", text, re.MULTILINE)
    assert match is not None
    return match.group(1).split()


def test_workers_run_as_the_user_asked_for_and_cannot_go_back(
    open_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = open_cluster
    cluster.start("-w", "2", "--user", "nobody", *QUICK, prefix=with_open_home(tmp_path))
    for pid in cluster.pids().values():
        assert set(_status(pid, "Uid")) == {str(NOBODY)}
        assert set(_status(pid, "Gid")) == {str(NOBODY)}
        assert "0" not in _status(pid, "Groups")
        assert _status(pid, "NoNewPrivs") == ["1"]
        assert set(_status(pid, "CapEff")) == {"0000000000000000"}
    assert cluster.get().status == 200
    assert cluster.ask("reload", wait=True)["generation"] == 2
    assert cluster.get().status == 200
    assert "workers run as root" not in "\n".join(cluster.lines)
    os.kill(cluster.pid, 9)
    cluster.wait_end()
    cluster.wait_no_processes()


def test_a_cluster_of_roots_says_so(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    cluster.wait_line("workers run as root: give them another user with --user")


def test_an_unknown_user_is_a_configuration_error(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--user", "no-such-user-here", wait="")
    assert cluster.wait_end() == 2
    assert "there is no such user" in "\n".join(cluster.lines)
