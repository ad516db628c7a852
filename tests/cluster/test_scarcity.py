"""Too few descriptors, or no room for a file: one line that says so, and what runs runs on."""

import os
import socket
from contextlib import ExitStack

import pytest

from tests.cluster.harness import Cluster


def few_descriptors(count: int) -> tuple[str, ...]:
    """A command that runs another one with this limit."""
    return ("sh", "-c", f'ulimit -n {count}; exec "$@"', "sh")


@pytest.mark.parametrize("count", [8, 9, 11, 12, 14, 15, 16, 18, 40, 64, 72])
def test_a_start_with_too_few_descriptors_is_one_line(cluster: Cluster, count: int) -> None:
    cluster.start("-w", "1", wait="", prefix=few_descriptors(count))
    assert cluster.wait_end() == 1
    (line,) = cluster.lines
    assert line.startswith("tercio: ")
    assert "Too many open files" in line
    assert count < 18 or "ulimit -n" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_runtime_directory_without_room_is_one_line(cluster: Cluster) -> None:
    full = cluster.directory / "full"
    full.mkdir()
    mount = 'mount -t tmpfs -o nr_inodes=3,mode=700 tmpfs "$1"; shift; exec "$@"'
    prefix = ("unshare", "-m", "sh", "-ec", mount, "sh", str(full))
    cluster.start("-w", "1", "--runtime-dir", str(full), wait="", prefix=prefix)
    assert cluster.wait_end() == 1, cluster.story()
    (line,) = cluster.lines
    assert line.startswith("tercio: ")
    assert "No space left on device" in line


def test_a_control_socket_without_descriptors_says_so_once_and_comes_back(
    cluster: Cluster,
) -> None:
    # One a seat to wake its process, and one a slot to listen.
    cluster.start("-w", "1", prefix=few_descriptors(128))
    with ExitStack() as clients:
        for _ in range(50):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(cluster.control))
        cluster.wait_line("the control socket takes no client: Too many open files")
    assert cluster.status()["ready"] == 1
    assert not [line for line in cluster.lines if "Traceback" in line or "accept()" in line]
    assert len([line for line in cluster.lines if "takes no client" in line]) == 1
