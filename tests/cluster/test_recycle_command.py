"""`tercio recycle`: other processes with the same code, one after the other, at nobody's cost."""

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.history import most_in_a_slot, serving
from tests.cluster.load import Load
from tests.cluster.releases import release

CALM = ("--no-access-log", "--drain-quiet", "5")


def test_recycling_replaces_the_processes_that_were_named(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "3", *CALM, "--soak", "0.2")
    before = cluster.pids()
    with Load(cluster.port, fresh=4, kept=4) as load:
        load.wait_for(20)
        assert cluster.tercio("recycle", "1").returncode == 0
        cluster.wait("WorkerLeft")
        after = cluster.pids()
        assert (after[0], after[2]) == (before[0], before[2])
        assert after[1] != before[1]

        assert cluster.tercio("recycle", "all").returncode == 0
        cluster.wait("WorkerLeft", count=4)
        assert set(cluster.pids().values()) & set(after.values()) == set()
        load.wait_for(50)
    assert load.failures == []
    assert min(serving(cluster.events)) == 3
    assert most_in_a_slot(cluster.events) == 2
    # One at a time: a herd of starts would cost more than the workers it replaces.
    assert max(_replacing(cluster)) == 1
    assert {event["generation"] for event in cluster.of("WorkerServing")} == {1}


def _replacing(cluster: Cluster) -> list[int]:
    """How many successors were under way at each event."""
    counts = [0]
    for event in cluster.events:
        begins = event["kind"] == "WorkerStarting" and event["cause"] != "start"
        ends = event["kind"] == "WorkerServing" and not event["worker"].endswith(".1")
        counts.append(counts[-1] + begins - ends)
    return counts


def test_idle_workers_change_seats_in_boot_and_soak(cluster: Cluster) -> None:
    # Whatever waited for one of these, though nothing is left to wait for, would not end in time.
    waits = ("--drain-timeout", "600", "--stop-timeout", "600", "--drain-quiet", "600")
    others = ("--trial", "600", "--stable-after", "600", "--sample-interval", "600")
    cluster.start("-w", "2", "--soak", "0.3", *waits, *others)
    cluster.ask("recycle", slots=[0])
    cluster.wait("WorkerLeft")
    at = {event["kind"]: event["time"] for event in cluster.events if event.get("worker") == "0.2"}
    soaked = at["WorkerServing"] - at["WorkerReady"]
    assert soaked > 0.29  # two clocks: the event's is for people
    planned = cluster.first("RetirementPlanned")["time"]
    assert at["WorkerStarting"] - planned < at["WorkerServing"] - at["WorkerStarting"]


def test_a_worker_that_cannot_be_replaced_stays(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.1")
    before = cluster.pids()
    cluster.write_app(release("two", at_import="import nothing_of_this_name"))
    command = cluster.tercio("recycle", "0")
    assert command.returncode == 1
    assert "nothing_of_this_name" in command.stderr
    assert cluster.pids() == before

    cluster.write_app(release("one"))
    cluster.ask("reload")
    assert set(cluster.pids().values()) & set(before.values()) == set()


@pytest.mark.parametrize(("slot", "says"), [("7", "there is no slot 7"), ("-1", "-1")])
def test_a_slot_that_is_not_there_is_refused(cluster: Cluster, slot: str, says: str) -> None:
    cluster.start("-w", "1", *CALM)
    before = cluster.pids()
    command = cluster.tercio("recycle", slot)
    assert command.returncode in (1, 2)
    assert says in command.stderr
    assert cluster.pids() == before
