"""Memory: leaks are seen and cost no request, sharing is no leak, and the OOM killer is named."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import history
from tests.cluster.burdens import GROW, SHARE, burdens
from tests.cluster.chaos.tiers import SLACK, trials
from tests.cluster.groups import group
from tests.cluster.harness import QUICK, Cluster, Event
from tests.cluster.load import Load

MB = 1_000_000
OFTEN = ("--memory-interval", "0.2")


def leak(cluster: Cluster, megabytes: int) -> None:
    """Each worker of the first incarnation takes this much at its next request, once."""
    part = cluster.directory / "leak.part"
    part.write_text(str(megabytes))
    part.rename(cluster.directory / "leak")


def of_slot(cluster: Cluster, kind: str, slot: int) -> list[Event]:
    """The events of a kind about one slot."""
    return [e for e in cluster.of(kind) if e["worker"].partition(".")[0] == str(slot)]


def pss(pid: int) -> int:
    """Own memory of a process and its share of what it has in common with others, in bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(
        int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
    )


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.mark.chaos("C16")
def test_four_that_leak_together_are_replaced_one_by_one_without_a_failed_request(
    new_cluster: Callable[[], Cluster],
) -> None:
    for _ in trials("C16", 1, 10, 30):
        cluster = new_cluster()
        cluster.write_app(burdens())
        cluster.start("-w", "4", *QUICK, *OFTEN, "--limit-max-memory", "100MB")
        with Load(cluster.port, fresh=2, kept=8) as load:
            load.wait_for(20)
            leak(cluster, 120)
            cluster.wait("WorkerLeft", 4)
            load.wait_for(20)
        assert not load.failures, load.tally
        assert load.tally.answers["kept"] > 0
        planned = cluster.of("RetirementPlanned")
        assert sorted(event["worker"] for event in planned) == ["0.1", "1.1", "2.1", "3.1"]
        for event in planned:
            assert event["reason"].endswith("over the limit of 100 MB (--limit-max-memory)")
            leaked = float((cluster.directory / f"leaked.{event['worker']}").read_text())
            # Seen at once, and once more: two samples, and the round in which it falls.
            assert event["time"] - leaked < 3 * 0.2 * SLACK + 1.0
        assert min(history.serving(cluster.events)) == 4
        starting: set[str] = set()
        for event in cluster.events:
            if event["kind"] == "WorkerStarting" and event["worker"].endswith(".2"):
                assert not starting, "two replacements boot at once"
                starting.add(event["worker"])
            elif event["kind"] == "WorkerServing":
                starting.discard(event["worker"])
        status = cluster.status()
        assert status["memory_limit_bytes"] == 100 * MB
        for slot in status["slots"]:
            assert slot["restarts"] == 0  # a seat change is no crash
            assert "--limit-max-memory" in slot["reasons"][-1]
        assert "--limit-max-memory" in cluster.tercio("status").stdout
        assert not cluster.of("WorkerDied")


def test_shared_pages_are_nobodys_leak(cluster: Cluster) -> None:
    with (cluster.directory / "shared").open("wb") as file:
        file.truncate(200 << 20)
    cluster.write_app(burdens(SHARE))
    cluster.start("-w", "2", *QUICK, *OFTEN, "--limit-max-memory", "100MB")
    status = cluster.until(
        lambda status: all(worker["rss_bytes"] > 200 * MB for worker in status["workers"])
    )
    assert all(worker["memory_bytes"] < 100 * MB for worker in status["workers"])
    measured = status["uptime"] + 10 * 0.2
    cluster.until(lambda status: status["uptime"] > measured)
    assert not cluster.of("RetirementPlanned")
    assert not cluster.of("LimitTooLow")


def test_a_worker_that_only_ever_grows_is_replaced_before_any_limit(cluster: Cluster) -> None:
    cluster.write_app(burdens(GROW))
    cluster.start("-w", "1", *QUICK, "--leak-window", "2", "--sample-interval", "0.1")
    planned = cluster.wait("RetirementPlanned")
    assert planned["worker"] == "0.1"
    assert planned["reason"].startswith("memory grew by ")
    assert planned["reason"].endswith("s without ever falling (--leak-window)")
    cluster.wait("WorkerLeft")
    measured = cluster.status()["uptime"] + 2.5
    cluster.until(lambda status: status["uptime"] > measured)
    assert len(cluster.of("RetirementPlanned")) == 1
    assert min(history.serving(cluster.events)) == 1


def test_a_limit_below_what_a_fresh_worker_takes_is_told_and_replaces_nobody(
    cluster: Cluster,
) -> None:
    cluster.start("-w", "2", *QUICK, *OFTEN, "--limit-max-memory", "17MB")
    cluster.wait("LimitTooLow", 2)
    measured = cluster.status()["uptime"] + 10 * 0.2
    cluster.until(lambda status: status["uptime"] > measured)
    assert len(cluster.of("LimitTooLow")) == 2
    assert not cluster.of("RetirementPlanned")


# In a group with a limit


def test_auto_shares_a_limited_group_and_leaves_room_for_a_successor(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    with group("memory") as limited:
        limited.limit_memory(450 << 20)
        cluster.start("-w", "2", *QUICK, *OFTEN, prefix=limited.prefix)
        limit = cluster.status()["memory_limit_bytes"]
        assert limit == int((450 << 20) * 0.9 / 3)
        with Load(cluster.port, fresh=2, kept=2) as load:
            load.wait_for(10)
            leak(cluster, 130)
            cluster.wait("WorkerLeft", 2)
        assert not load.failures, load.tally
        for event in cluster.of("RetirementPlanned"):
            assert f"over the limit of {limit / MB:.0f} MB" in event["reason"]
            assert not event["vacates_first"]
        assert min(history.serving(cluster.events)) == 2
        assert not cluster.of("WorkerDied")
        assert cluster.stop() == 0


@pytest.mark.chaos("C17")
def test_the_oom_killer_is_named_and_the_primary_outlives_it(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    with group("memory") as limited:
        limited.limit_memory(200 << 20)
        cluster.start(
            "-w", "2", *QUICK, "--limit-max-memory", "0", "--backoff-base", "0.05",
            prefix=limited.prefix,
        )  # fmt: skip
        for pid in cluster.pids().values():
            assert oom_score(pid) == oom_score(cluster.pid) + 300
        for number in trials("C17", 2, 10, 50):
            with pytest.raises(OSError, match=r"closed|reset"):
                cluster.get("/hog/300")
            died = cluster.wait("WorkerDied", number + 1)
            assert died["status"] == "killed by SIGKILL"
            assert "the kernel's OOM killer ended it" in died["note"]
            assert died["lost_requests"] == 1
            cluster.until(lambda status: status["ready"] == 2)
        delayed = cluster.of("RestartDelayed")
        assert len(delayed) == len(cluster.of("WorkerDied"))
        errors = [slot["last_error"] for slot in cluster.status()["slots"]]
        assert any("OOM killer" in error for error in errors)
        assert cluster.get().status == 200
        assert cluster.stop() == 0


def test_without_room_for_two_a_worker_leaves_first_and_a_reload_rolls(cluster: Cluster) -> None:
    cluster.write_app(burdens())
    with group("memory") as limited:
        cluster.start(
            "-w", "2", *QUICK, *OFTEN, "--limit-max-memory", "90MB", "--start-timeout", "20",
            prefix=limited.prefix,
        )  # fmt: skip
        assert cluster.status()["memory_limit_bytes"] == 90 * MB
        with Load(cluster.port, fresh=2, kept=2) as load:
            load.wait_for(10)
            # Both will take 100 MiB more, and 12 MB are left then: less than a worker.
            limited.limit_memory(limited.memory_used() + 2 * (100 << 20) + 12 * MB)
            leak(cluster, 100)
            cluster.wait("WorkerLeft", 2)
            cluster.until(lambda status: status["ready"] == 2 and len(status["workers"]) == 2)
            load.wait_for(10)
            first = cluster.first("RetirementPlanned")
            assert first["vacates_first"]
            assert "leaves first, there is no memory for two" in first["text"]
            assert min(history.serving(cluster.events)) == 1

            # Room for one more worker, but not for two.
            needed = sum(pss(pid) for pid in cluster.pids().values())
            limited.limit_memory(limited.memory_used() + needed * 3 // 4)
            result = cluster.ask("reload")
            load.wait_for(10)
        assert result["generation"] == 2
        assert not cluster.first("ReloadStarted")["is_exact"]
        assert "no memory for two sets" in cluster.first("ReloadStarted")["text"]
        assert not load.failures, load.tally
        assert not cluster.of("WorkerDied")
        assert cluster.stop() == 0


def test_the_oom_killer_has_no_part_in_a_kill_by_hand(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    os.kill(cluster.pids()[0], signal.SIGKILL)
    died = cluster.wait("WorkerDied")
    assert died["note"] == ""
