"""`--release-dir LINK`: a deployment moves a link; a generation stays where it began."""

import os
import signal
from pathlib import Path

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.history import served


def deploy(cluster: Cluster, name: str, text: str) -> None:
    """Put a release into a directory of its own, and move the link to it."""
    release = cluster.directory / name
    release.mkdir()
    (release / "shop.py").write_text(text)
    link = cluster.directory / "next"
    link.symlink_to(name)
    os.replace(link, cluster.directory / "current")


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["plain", "preload"])
def test_a_killed_worker_comes_back_from_its_own_release(
    cluster: Cluster, more: tuple[str, ...]
) -> None:
    deploy(cluster, "r1", cluster.release("one"))
    options = ("-w", "2", "--release-dir", "current", *more, *QUICK)
    cluster.start(*options, app="shop:app")
    deploy(cluster, "r2", "raise RuntimeError('no good')")
    assert cluster.tercio("reload").returncode != 0
    for slot, pid in cluster.pids().items():
        since = cluster.newest()
        os.kill(pid, signal.SIGKILL)
        cluster.wait(served(slot), since=since)
    assert {cluster.get().text.split()[0] for _ in range(20)} == {"one"}
    assert cluster.status()["release"] == os.path.realpath(cluster.directory / "r1")


def test_a_reload_follows_the_link(cluster: Cluster) -> None:
    deploy(cluster, "r1", cluster.release("one"))
    cluster.start("-w", "1", "--release-dir", "current", *QUICK, app="shop:app")
    deploy(cluster, "r2", cluster.release("two"))
    since = cluster.newest()
    os.kill(cluster.pids()[0], signal.SIGKILL)  # before the reload: the old release
    cluster.wait("WorkerServing", since=since)
    assert cluster.get().text.split()[0] == "one"
    assert cluster.tercio("reload").returncode == 0
    assert cluster.get().text.split()[0] == "two"
    assert Path(cluster.status()["release"]).name == "r2"


def test_a_link_to_nothing_is_an_error_of_configuration(cluster: Cluster) -> None:
    cluster.start("--release-dir", "nowhere", wait="")
    assert cluster.wait_end() == 2
    assert "--release-dir nowhere: there is no such directory" in "\n".join(cluster.lines)
