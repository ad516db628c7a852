"""A wall clock that jumps by an hour. Only `scripts/chaos` plays this; it installs libfaketime."""

import importlib.util
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cluster.chaos.tiers import trials
from tests.cluster.harness import QUICK, Cluster
from tests.cluster.programs import faulty

_FOUND = importlib.util.find_spec("libfaketime")

pytestmark = pytest.mark.skipif(_FOUND is None, reason="needs `pip install libfaketime`")

HOUR = 3600


@pytest.mark.chaos("C31")
def test_a_clock_that_jumps_kills_nobody_and_ends_nothing_early(cluster: Cluster) -> None:
    assert _FOUND is not None
    assert _FOUND.origin is not None
    clock = cluster.directory / "clock"
    clock.write_text("+0\n")
    cluster.environ |= {
        "LD_PRELOAD": str(Path(_FOUND.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    cluster.write_app(faulty())
    limits = ("--blocked-kill", "1", "--stopped-kill", "1", "--stable-after", "0")
    cluster.start("-w", "2", *QUICK, *limits)
    with ThreadPoolExecutor(2) as clients:
        for number in trials("C31 clock", 3, 20, 50):
            before = cluster.pids()
            running = clients.submit(cluster.get, "/sleep/1.5")
            cluster.until(lambda status: sum(w["in_flight"] for w in status["workers"]) == 1)
            clock.write_text(f"{'-' if number % 2 else '+'}{HOUR}\n")
            assert cluster.get().status == 200
            assert running.result().status == 200
            assert cluster.pids() == before
            os.kill(before[0], signal.SIGKILL)  # back-off and restart go by another clock
            cluster.wait("WorkerDied", number + 1)
            cluster.until(lambda status: status["ready"] == 2)
        assert not cluster.of("WorkerKilled")
        jumps = [later["time"] - earlier["time"] for earlier, later in pairwise(cluster.events)]
        assert max(map(abs, jumps)) > HOUR / 2  # people are told the time that the clock shows
        running = clients.submit(cluster.get, "/sleep/1")
        cluster.until(lambda status: sum(w["in_flight"] for w in status["workers"]) == 1)
        cluster.signal(signal.SIGTERM)
        clock.write_text(f"+{2 * HOUR}\n")
        assert running.result().status == 200
    assert cluster.wait_end() == 0
    assert cluster.first("Stopped")["cut_requests"] == 0
