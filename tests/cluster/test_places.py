"""Where clusters live: as PID 1, as nobody in particular, with nothing to write to."""

import os
import re
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.chaos.tiers import SLACK, luck, trials
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.places import AS_NOBODY, AS_PID_1, READ_ONLY, with_open_home
from tests.cluster.programs import faulty
from tests.ports import free_port

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root makes such places"
)


def children_of(pid: int) -> list[int]:
    """The processes whose parent it is."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    """The letter that the kernel gives the state of a process; Z is dead and not reaped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_root
def test_as_pid_1_it_serves_reaps_strangers_and_stops(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", *QUICK, prefix=AS_PID_1)
    assert cluster.status()["pid"] == 1
    (primary,) = children_of(cluster.pid)
    workers = children_of(primary)
    assert len(workers) == 2
    for _ in range(5):
        assert cluster.get("/orphan").status == 200
    # Each orphan lives a fifth of a second after its parents; then nobody of them is left.
    deadline = time.monotonic() + 30
    while set(children_of(primary)) != set(workers) or any(map(_has_orphan, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not cluster.of("WorkerDied")
    os.kill(primary, signal.SIGTERM)
    assert cluster.wait_end() == 0
    assert cluster.of("Stopped")


def _has_orphan(worker: int) -> bool:
    """Whether a child of the worker still runs; dead ones are its own to reap."""
    return any(state_of(child) != "Z" for child in children_of(worker))


@needs_root
@pytest.mark.chaos("C35")
def test_as_pid_1_it_obeys_a_stop_at_every_instant_of_its_boot(cluster: Cluster) -> None:
    # The kernel throws away a signal that PID 1 has no handler for.
    chance = luck("C35 PID 1")
    cluster.write_app(faulty())
    for _ in trials("C35 PID 1", 4, 40, 200):
        again = Cluster(cluster.directory, cluster.mark)
        again.start("-w", "1", wait="", prefix=AS_PID_1)
        primary = wait_for_primary(again.pid)
        time.sleep(chance.uniform(0, 0.3))  # the fault's moment
        began = time.monotonic()
        os.kill(primary, signal.SIGTERM)
        assert again.wait_end() == 0, again.story()
        assert time.monotonic() - began < 2 * SLACK
        assert again.clean_up() == []


def wait_for_primary(parent: int) -> int:
    """Wait until the command line has become the primary."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline
        for child in children_of(parent):
            if b"tercio.primary" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.001)


@needs_root
def test_without_privileges_home_or_a_writable_disk_it_serves_and_is_found(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.write_app(faulty())
    for place in (cluster.directory, *cluster.directory.parents):
        if str(place) not in ("/", "/tmp"):
            place.chmod(place.stat().st_mode | 0o055)
    for name in ("HOME", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "TMPDIR"):
        cluster.environ.pop(name, None)
    prefix = (*with_open_home(tmp_path), *READ_ONLY, *AS_NOBODY)
    cluster.start("-w", "2", *QUICK, "--runtime-dir", "", prefix=prefix, wait="")
    cluster.wait_line("all 2 workers serve")
    # Its mounts are its own: we look through its eyes.
    (found,) = Path(f"/proc/{cluster.pid}/root/dev/shm").glob("tercio*/*/control.sock")
    cluster.runtime = found.parent.parent
    cluster.follow()
    cluster.wait("ClusterReady")
    status = Path(f"/proc/{cluster.pid}/status").read_text()
    assert "Uid:\t1000\t1000\t1000\t1000" in status
    assert "CapEff:\t0000000000000000" in status
    assert cluster.get("/home").text == "none"
    workers = cluster.pids()
    os.kill(workers[0], signal.SIGKILL)
    cluster.wait("WorkerDied")
    cluster.until(lambda status: status["ready"] == 2)
    cluster.signal(signal.SIGHUP)
    cluster.wait("ReloadCommitted")
    assert cluster.stop() == 0


@needs_root
def test_it_lives_in_a_container_that_allows_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """All at once: process 1, uid 1000, no capability, no home, read-only but 64 MB of memory."""
    cluster.write_app(faulty())
    for place in (cluster.directory, *cluster.directory.parents):
        if str(place) not in ("/", "/tmp"):
            place.chmod(place.stat().st_mode | 0o055)
    for name in ("HOME", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "TMPDIR"):
        cluster.environ.pop(name, None)
    prefix = (*with_open_home(tmp_path), *AS_PID_1, *READ_ONLY, *AS_NOBODY)
    cluster.start("-w", "2", *QUICK, "--runtime-dir", "", prefix=prefix, wait="")
    cluster.wait_line("all 2 workers serve")
    (first,) = children_of(cluster.pid)
    status = Path(f"/proc/{first}/status").read_text()
    assert "Uid:\t1000\t1000\t1000\t1000" in status
    assert "CapEff:\t0000000000000000" in status
    assert status.partition("NSpid:")[2].split()[1] == "1"
    (found,) = Path(f"/proc/{first}/root/dev/shm").glob("tercio*/*/control.sock")
    cluster.runtime = found.parent.parent
    cluster.follow()
    cluster.wait("ClusterReady")
    for _ in range(5):
        assert cluster.get("/orphan").status == 200
    cluster.ask("reload")
    cluster.wait("ReloadCommitted")
    assert not cluster.of("WorkerDied")
    os.kill(first, signal.SIGTERM)
    assert cluster.wait_end() == 0


@pytest.mark.chaos("C19")
@pytest.mark.parametrize("redirection", ["0<&- 1>&- 2>&-", "1>/dev/full 2>&1"])
def test_output_that_goes_nowhere_stops_nobody(cluster: Cluster, redirection: str) -> None:
    cluster.write_app(faulty())
    command = ("sh", "-c", f'exec "$@" {redirection}', "sh")
    cluster.start("-w", "1", *QUICK, prefix=command, wait="")
    deadline = time.monotonic() + 30
    while not list(cluster.runtime.glob("*/control.sock")):
        assert time.monotonic() < deadline
        assert not cluster.has_ended()
        time.sleep(0.01)
    cluster.follow()
    cluster.wait("ClusterReady")
    assert cluster.get().status == 200
    assert cluster.get("/raise/ValueError").status == 500
    cluster.signal(signal.SIGHUP)
    cluster.wait("ReloadCommitted")
    assert cluster.get().status == 200
    assert cluster.stop() == 0


def test_the_probes_of_the_page_on_containers_are_answered(cluster: Cluster) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/containers.md").read_text()
    probed = re.findall(r"httpGet: \{ path: (\S+), port: health \}", page)
    asked = re.findall(r'\["tercio", "health", ("--[a-z]+")\]', page)
    assert len(probed) == 3
    assert len(asked) == 2
    port = free_port()
    cluster.start("-w", "1", *QUICK, "--health", f"127.0.0.1:{port}")
    for path in probed:
        url = f"http://127.0.0.1:{port}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.status == 200
    for word in asked:
        assert cluster.tercio("health", word.strip('"')).returncode == 0
