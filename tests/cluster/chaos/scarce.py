"""Too little of what the kernel counts. Only `scripts/chaos` plays these; they need root."""

import os
import signal
import threading

import pytest

from tests.cluster.chaos.tiers import trials
from tests.cluster.groups import group
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.releases import release


@pytest.mark.chaos("C19")
def test_without_room_for_a_process_the_primary_waits_and_comes_back(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    with group("pids") as pids:
        limit = pids.path / "pids.max"
        options = ("--stable-after", "0", "--backoff-base", "0.05", "--breaker-deaths", "1000")
        cluster.start("-w", "2", *QUICK, *options, prefix=pids.prefix)
        before = cluster.pids()
        for _ in trials("C19 pids", 3, 20, 100):
            limit.write_text("1")  # fewer than there are: nothing can be added
            refusals = len(cluster.of("SpawnFailed"))
            os.kill(cluster.pids()[0], signal.SIGKILL)
            refused = cluster.wait("SpawnFailed", refusals + 2)
            assert "pids.max" in refused["error"]
            assert cluster.get().status == 200
            limit.write_text("max")
            cluster.until(lambda status: status["ready"] == 2)
        assert cluster.pids()[1] == before[1]
        assert cluster.stop() == 0


@pytest.mark.chaos("C31")
def test_a_frozen_cluster_loses_nobody(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    with group("freezer") as freezer:
        is_v1 = (freezer.path / "freezer.state").exists()
        switch = freezer.path / ("freezer.state" if is_v1 else "cgroup.freeze")
        limits = ("--blocked-kill", "1", "--stopped-kill", "1")
        cluster.start("-w", "2", *QUICK, *limits, prefix=freezer.prefix)
        before = cluster.pids()
        for _ in trials("C31 freezer", 1, 5, 20):
            switch.write_text("FROZEN" if is_v1 else "1")
            threading.Event().wait(10)  # the suspension
            switch.write_text("THAWED" if is_v1 else "0")
            assert cluster.get().status == 200
            threading.Event().wait(1)  # some rounds of looking
            assert cluster.pids() == before
        assert not cluster.of("WorkerKilled")
        assert cluster.stop() == 0
