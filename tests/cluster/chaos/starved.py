"""A machine that has no time for us. Only `scripts/chaos` plays this: it lasts minutes."""

import os
import subprocess
import sys
import threading
from typing import Final

import pytest

from tests.cluster.chaos.tiers import TIER, trials
from tests.cluster.harness import Cluster

_SECONDS: Final = {"quick": 10, "full": 600, "extreme": 1800}
_LOOPS_PER_CORE: Final = 4


@pytest.mark.chaos("C32")
def test_a_starved_machine_costs_no_worker_its_life(cluster: Cluster) -> None:
    """Nobody is killed, replaced or called silent for being late."""
    cluster.start("-w", "4", "--blocked-kill", "5", "--stopped-kill", "5")
    before = cluster.pids()
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(_LOOPS_PER_CORE * len(os.sched_getaffinity(0)))
    ]
    try:
        for _ in trials("C32", 1, 1, 3):
            threading.Event().wait(_SECONDS[TIER])  # the time itself is the fault
            assert cluster.get().status == 200
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert before == cluster.pids()
    assert not {"WorkerKilled", "WorkerDied", "WorkerSilent"} & set(cluster.kinds())
