"""Faults at a chosen system call, by `strace --inject`. Only `scripts/chaos` plays these."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.chaos.tiers import PLAYED, luck, trials
from tests.cluster.harness import QUICK, Cluster, is_free
from tests.cluster.releases import release
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

CALLS: Final = {
    "vfork": 8, "pidfd_open": 8, "sendto": 25, "recvfrom": 40, "epoll_wait": 150, "waitid": 8,
    "epoll_ctl": 60, "pipe2": 8, "renameat": 1, "write": 40,
}  # fmt: skip
"""What a primary calls while it starts, reloads and waits; and how often, about."""

GONE_WITHIN: Final = 6.0


def injecting(log: Path, *faults: str) -> tuple[str, ...]:
    """Run a command with faults, in itself only. ``-D``: it stays our child, not the tracer's."""
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    options = [word for fault in faults for word in ("-e", f"inject={fault}")]
    return ("strace", "-D", "-qq", "-o", str(log), "-e", f"trace={calls}", *options)


@pytest.mark.chaos("C02", "C03")
@pytest.mark.parametrize("call", CALLS)
def test_a_primary_killed_at_a_system_call_leaves_nothing_and_the_next_one_starts(
    new_cluster: Callable[[], Cluster], call: str
) -> None:
    chance = luck(f"C02 {call}")
    port = free_port()
    cluster = new_cluster()
    cluster.write_app(release("one"))
    options = ("--port", str(port), "--name", "one", "-w", "2", *QUICK)
    killed = 0
    for _ in trials(f"C02 {call}", 3, 15, 100):
        cluster = _again(cluster, new_cluster)
        nth = chance.randint(1, CALLS[call])
        fault = injecting(cluster.directory / "strace", f"{call}:signal=KILL:when={nth}")
        cluster.start(*options, wait="", prefix=fault)
        killed += _reload_until_dead(cluster)
        cluster.wait_no_processes(GONE_WITHIN)
        assert is_free(port)
    PLAYED[f"C02 {call}, killed at the call"] += killed
    cluster = _again(cluster, new_cluster)
    cluster.start(*options)
    assert cluster.stop() == 0


def _again(cluster: Cluster, new_cluster: Callable[[], Cluster]) -> Cluster:
    again = new_cluster()
    again.directory, again.runtime = cluster.directory, cluster.runtime
    return again


def _reload_until_dead(cluster: Cluster) -> bool:
    """Make it work, so that it comes to its n-th call; whether that killed it."""
    for _ in range(12):
        if cluster.has_ended():
            return True
        if b"tercio.primary" in Path(f"/proc/{cluster.pid}/cmdline").read_bytes():
            cluster.signal(signal.SIGUSR2)
        threading.Event().wait(0.5)
    cluster.signal(signal.SIGKILL)
    cluster.wait_end()
    return False


@pytest.mark.chaos("C19")
@pytest.mark.parametrize(
    "faults",
    [
        # Python tries fork when vfork is refused.
        ("vfork:error=EAGAIN:when=2..4", "clone:error=EAGAIN:when=1..3"),
        ("vfork:error=ENOMEM:when=2..4", "clone:error=ENOMEM:when=1..3"),
        ("pidfd_open:error=EMFILE:when=2..4",),
        ("memfd_create:error=ENFILE:when=5..7",),
        ("pipe2:error=EMFILE:when=3..5",),
    ],
    ids=lambda faults: faults[0].rpartition(":")[0],
)
def test_a_kernel_that_refuses_to_start_a_process_is_asked_again(
    cluster: Cluster, faults: tuple[str, ...]
) -> None:
    cluster.write_app(release("one"))
    fault = injecting(cluster.directory / "strace", *faults)
    cluster.start("-w", "1", *QUICK, "--backoff-base", "0.05", prefix=fault)
    for _ in trials("C19 start", 1, 1, 1):
        (pid,) = cluster.pids().values()
        os.kill(pid, signal.SIGKILL)
        refused = cluster.wait("SpawnFailed", 2)
        assert refused["error"]
        cluster.until(lambda status: status["ready"] == 1)
        assert cluster.get().status == 200
    assert cluster.stop() == 0
    cluster.wait_no_processes()  # the tracer ends a moment later
