"""Scaling: the number that was asked for, no request lost, two processes a slot at the most."""

import random
import signal

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.history import Census, most_in_a_slot, serving
from tests.cluster.load import Load
from tests.cluster.releases import release

CALM = ("--no-access-log", "--drain-quiet", "5")
SHORT = ("--soak", "0.2", "--trial", "0.2")


def settled(cluster: Cluster, count: int) -> dict[int, int]:
    """Wait until exactly ``count`` workers live, all serving in the lowest slots; their pids."""
    cluster.until(
        lambda status: (
            [(w["slot"], w["phase"]) for w in status["workers"]]
            == [(slot, "serving") for slot in range(count)]
        )
    )
    return cluster.pids()


def test_commands_and_signals_change_the_number_of_workers(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM)
    first = settled(cluster, 2)
    with Load(cluster.port, fresh=4, kept=4) as load:
        for number, count in (("4", 4), ("+1", 5), ("-2", 3)):
            command = cluster.tercio("scale", number)
            assert (command.returncode, len(cluster.pids())) == (0, count)
        cluster.signal(signal.SIGTTIN)
        settled(cluster, 4)
        cluster.signal(signal.SIGTTOU)
        assert {slot: settled(cluster, 3)[slot] for slot in (0, 1)} == first
        load.wait_for(50)
    assert load.failures == []
    changes = [(event["before"], event["target"]) for event in cluster.of("Scaled")]
    assert changes == [(2, 4), (4, 5), (5, 3), (3, 4), (4, 3)]


def test_a_number_that_cannot_be_had_is_refused(cluster: Cluster) -> None:
    cluster.start("-w", "2", "--max-workers", "3", *CALM)
    for number in ("4", "0", "-2", "+2"):
        command = cluster.tercio("scale", number)
        assert command.returncode == 1
        assert "1 to 3 are possible (--max-workers)" in command.stderr
    cluster.signal(signal.SIGTTOU)
    cluster.wait("Scaled")  # the kernel makes one of two signals that wait
    cluster.signal(signal.SIGTTOU)
    cluster.wait("ScaleRefused", count=5)
    assert len(settled(cluster, 1)) == 1


@pytest.mark.chaos("C15", repeat=True)
def test_flapping_keeps_two_processes_a_slot_and_ends_exact(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM)
    with Census(cluster.pid) as census, Load(cluster.port, fresh=4, kept=4) as load:
        for target in (6, 1, 6, 1, 6, 1, 6):
            cluster.ask("scale", to=target, wait=False)
            load.wait_for(20)
        cluster.ask("scale", to=3)
        settled(cluster, 3)
    assert load.failures == []
    assert most_in_a_slot(cluster.events) <= 2
    assert census.most <= 12
    assert min(serving(cluster.events)) >= 1


@pytest.mark.chaos("C15", repeat=True)
def test_scaling_during_a_reload_ends_exact_and_in_one_generation(cluster: Cluster) -> None:
    chance = random.Random(15)
    cluster.write_app(release("r0"))
    cluster.start("-w", "3", *CALM, *SHORT)
    with Load(cluster.port, fresh=4, kept=4) as load:
        for number in (1, 2):
            cluster.write_app(release(f"r{number}"))
            request = cluster.ask("reload", wait=False)["request"]
            for _ in range(4):
                cluster.ask("scale", to=chance.randint(1, 6), wait=False)
                load.wait_for(chance.randint(1, 60))
            last = chance.randint(2, 4)
            cluster.ask("scale", to=last, wait=False)
            cluster.wait(
                lambda e, r=request: (  # type: ignore[misc]
                    e["kind"] == "ReloadCommitted" and r in e["requests"]
                )
            )
            settled(cluster, last)
            assert set(load.wait_for(50)) == {f"r{number}"}
            status = cluster.status()
            assert {w["generation"] for w in status["workers"]} == {number + 1}
            assert status["target"] == last
    assert load.failures == []
    assert most_in_a_slot(cluster.events) <= 2
    assert min(serving(cluster.events)) >= 1
