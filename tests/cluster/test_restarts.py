"""Workers that die: who comes back, how soon, and that nobody else pays for it."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.chaos.tiers import SLACK, luck, trials
from tests.cluster.harness import QUICK, Cluster, Event
from tests.cluster.load import Load
from tests.cluster.programs import BROKEN, COUNT_BOOTS, faulty
from tests.cluster.releases import release

EVER_BROKEN = faulty(BROKEN)

# The default back-off begins at 0.25 s; a tenth of it makes the same story shorter.
HASTY = ("--backoff-base", "0.025")

CUT: Final = re.compile("closed|reset")
"""What a client hears of a worker that is gone."""


def boots(cluster: Cluster) -> int:
    """How often the application was imported."""
    return (cluster.directory / "boots").stat().st_size


def of_slot(cluster: Cluster, kind: str, slot: int) -> list[Event]:
    """The events of a kind about one slot, in order."""

    def place(event: Event) -> int:
        return int(event["slot"] if "slot" in event else str(event["worker"]).partition(".")[0])

    return [event for event in cluster.of(kind) if place(event) == slot]


# First boot


@pytest.mark.chaos("C06")
def test_an_app_that_cannot_be_imported_ends_the_first_boot_with_one_traceback(
    new_cluster: Callable[[], Cluster],
) -> None:
    for _ in trials("C06", 5, 20, 50):
        cluster = new_cluster()
        cluster.write_app(EVER_BROKEN)
        began = time.monotonic()
        cluster.start("-w", "3", wait="")
        assert cluster.wait_end() == 1
        assert time.monotonic() - began < 5 * SLACK
        output = "\n".join(cluster.lines)
        assert output.count("Traceback (most recent call last)") == 1
        assert output.count('raise RuntimeError("no database")') == 1
        assert "no worker could start" in output
        assert boots(cluster) == 3
        assert not cluster.living()


def test_a_first_boot_in_which_one_worker_succeeds_goes_on(cluster: Cluster) -> None:
    # Whoever creates the file first fails; the others, and its next try, do not.
    once = "os.close(os.open('failed', os.O_CREAT | os.O_EXCL))"
    cluster.write_app(
        faulty(f"try: {once}\nexcept FileExistsError: pass\nelse: raise RuntimeError('once')")
    )
    cluster.start("-w", "3", *HASTY)
    assert len(cluster.of("WorkerDied")) == 1
    assert len(cluster.pids()) == 3


# Back-off


def test_an_app_that_breaks_later_is_retried_with_back_off_until_the_file_is_mended(
    cluster: Cluster,
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", *HASTY, "--breaker-deaths", "1000")
    cluster.write_app(EVER_BROKEN)
    began = time.monotonic()
    for pid in cluster.pids().values():
        os.kill(pid, signal.SIGKILL)
    cluster.wait(lambda e: e["kind"] == "RestartDelayed" and e["failures"] == 6, 2)
    elapsed = time.monotonic() - began
    for slot in (0, 1):
        delays = [event["seconds"] for event in of_slot(cluster, "RestartDelayed", slot)]
        for number, delay in enumerate(delays):
            longest = 0.025 * 2**number
            assert longest / 2 <= delay <= longest
        # 8 starts in 30 s by default; here everything is ten times as fast.
        first = of_slot(cluster, "WorkerDied", slot)[0]["time"]
        starts = [e["time"] - first for e in of_slot(cluster, "WorkerStarting", slot)[1:]]
        assert sum(start < 3.0 for start in starts) <= 8
        # It came back no earlier than it said.
        deaths = [event["time"] - first for event in of_slot(cluster, "WorkerDied", slot)]
        for died, delay, started in zip(deaths, delays, starts, strict=False):
            assert started - died >= delay - 0.01
    assert elapsed > 2 * 0.5 * 0.025 * (1 + 2 + 4 + 8 + 16) / 2
    slots = cluster.status()["slots"]
    assert all('raise RuntimeError("no database")' in slot["last_traceback"] for slot in slots)
    assert "no database" in cluster.tercio("status").stdout

    cluster.write_app(faulty())  # and nobody says a word
    cluster.until(lambda status: status["ready"] == 2)
    assert not cluster.of("ReloadStarted")


@pytest.mark.chaos("C07", "C08")
def test_a_crash_loop_after_ready_opens_the_breaker_and_a_reload_of_mended_code_closes_it(
    new_cluster: Callable[[], Cluster],
) -> None:
    for _ in trials("C07+C08", 2, 10, 30):
        cluster = new_cluster()
        cluster.write_app(faulty())
        cluster.start("-w", "1", *QUICK, *HASTY)
        crash = "asyncio.get_running_loop().call_later(0.2, os._exit, 3)"
        cluster.write_app(faulty(COUNT_BOOTS, crash))
        os.kill(cluster.pids()[0], signal.SIGKILL)
        opened = cluster.wait("BreakerOpened")
        assert opened["deaths"] == 5  # max(5, 2 x 1 worker)
        delays = [event["seconds"] for event in cluster.of("RestartDelayed")]
        assert len(delays) == 5
        for number, delay in enumerate(delays):
            assert 0.025 * 2**number / 2 <= delay <= 0.025 * 2**number
        assert boots(cluster) == 4  # one death was of the good release
        status = cluster.status()
        assert status["breaker"]["next_probe_in"] > 20
        assert status["slots"][0]["last_error"] == "exited with 3"

        cluster.write_app(faulty())
        cluster.signal(signal.SIGHUP)
        cluster.wait("ReloadCommitted")
        status = cluster.status()
        assert status["ready"] == 1
        assert status["breaker"] is None
        assert cluster.stop() == 0


@pytest.mark.chaos("C09")
def test_slots_that_crash_cost_the_others_nothing_and_a_probe_brings_them_back(
    new_cluster: Callable[[], Cluster],
) -> None:
    odd = "from tercio import cluster\nif cluster.worker.slot % 2 and os.path.exists('bad'):\n"
    for _ in trials("C09", 1, 10, 50):
        cluster = new_cluster()
        cluster.write_app(release("one", at_import=f"{odd}    raise RuntimeError('odd')"))
        cluster.start(
            "-w", "4", *QUICK, *HASTY, "--probe-interval", "0.5", "--stable-after", "0.5"
        )  # fmt: skip
        before = cluster.pids()
        bad = cluster.directory / "bad"
        bad.touch()
        with Load(cluster.port, fresh=1, kept=2) as load:
            load.wait_for(20)
            for slot in (1, 3):
                os.kill(before[slot], signal.SIGKILL)
            opened = cluster.wait("BreakerOpened")
            assert opened["deaths"] == 8  # max(5, 2 x 4 workers)
            in_flight = len(load.failures)
            assert in_flight <= 3  # each client had one request at the most
            load.wait_for(50)
            cluster.wait(lambda e: e["kind"] == "WorkerStarting", 2, since=opened["sequence"])
            assert {slot: before[slot] for slot in (0, 2)} == cluster.pids()
            bad.unlink()
            cluster.wait("BreakerClosed")
            status = cluster.until(lambda status: status["ready"] == 4)
            assert status["breaker"] is None
            assert len(load.failures) == in_flight
        after = cluster.pids()
        assert {slot: after[slot] for slot in (0, 2)} == {slot: before[slot] for slot in (0, 2)}
        # While the breaker was open one slot tried at a time, half a second apart.
        closed = cluster.first("BreakerClosed")["sequence"]
        probes = [
            event["time"]
            for event in cluster.of("WorkerStarting")
            if opened["sequence"] < event["sequence"] < closed
        ]
        assert all(later - earlier > 0.45 for earlier, later in pairwise(probes))
        assert cluster.stop() == 0


def test_with_on_crash_loop_exit_the_cluster_ends_once_no_worker_is_ready(
    cluster: Cluster,
) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "2", *HASTY, "--on-crash-loop", "exit")
    cluster.write_app(EVER_BROKEN)
    for pid in cluster.pids().values():
        os.kill(pid, signal.SIGKILL)
    assert cluster.wait_end() == 1
    assert cluster.of("BreakerOpened")
    assert "no database" in cluster.first("StartGivenUp")["traceback"]


# Healthy workers that are killed


def test_six_of_eight_workers_killed_at_once_are_back_and_the_other_two_never_noticed(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "8", *QUICK)
    boot = cluster.first("ClusterReady")["seconds"]
    before = cluster.pids()
    survivors = {slot: before[slot] for slot in (2, 5)}
    with Load(cluster.port, fresh=1, kept=1) as load:
        load.wait_for(10)
        began = time.monotonic()
        for slot in before.keys() - survivors.keys():
            os.kill(before[slot], signal.SIGKILL)
        cluster.until(lambda status: status["ready"] == 8 and len(status["workers"]) == 8)
        assert time.monotonic() - began < (1.5 + boot) * SLACK
        load.wait_for(10)
    assert len(load.failures) <= 2  # what the two clients had in flight
    after = cluster.pids()
    assert {slot: after[slot] for slot in survivors} == survivors
    assert len(cluster.of("WorkerDied")) == 6
    assert not cluster.of("BreakerOpened")
    assert not cluster.of("WorkerKilled")


@pytest.mark.chaos("C01")
def test_a_killed_worker_costs_only_the_requests_that_it_had(cluster: Cluster) -> None:
    chance = luck("C01")
    clients = {"fresh": 1, "kept": 1, "posts": 1, "downloads": 1, "websockets": 1}
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *QUICK, "--stable-after", "0")
    boot = cluster.first("ClusterReady")["seconds"]
    kills = trials("C01", 20, 300, 2000)
    with Load(cluster.port, **clients, download=0.3) as load:
        load.wait_for(10)
        for number in kills:
            time.sleep(chance.uniform(0, 0.3))  # the fault's moment
            failed = len(load.failures)
            pid = chance.choice(list(cluster.pids().values()))
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            cluster.wait("WorkerDied", number + 1)
            cluster.until(partial(_is_replaced, old=pid))
            assert time.monotonic() - began < (boot + 0.5) * SLACK
            load.wait_for(5)
            # Each client has one connection: more failures than clients would be collateral.
            assert len(load.failures) - failed <= len(clients)
    refused = [reason for reason in load.failures if "refused" in reason.lower()]
    assert not refused
    assert len(cluster.of("WorkerDied")) == len(kills)


def _is_replaced(status: dict[str, Any], *, old: int) -> bool:
    return status["ready"] == 2 and all(worker["pid"] != old for worker in status["workers"])


# What an application may do to its own process


@pytest.mark.chaos("C01")
def test_whatever_status_a_worker_exits_with_it_is_only_a_dead_worker(cluster: Cluster) -> None:
    few = (0, 1, 2, 3, 70, 127, 130, 143, 255)
    codes = few if len(trials("exit codes", 9, 256, 256)) == 9 else range(256)
    cluster.write_app(faulty())
    cluster.start("-w", "2", *QUICK, "--stable-after", "0")
    for number, code in enumerate(codes, 1):
        with pytest.raises(OSError, match=CUT):
            cluster.get(f"/exit/{code}")
        assert cluster.wait("WorkerDied", number)["status"] == f"exited with {code}"
        cluster.until(lambda status: status["ready"] > 0)
    with pytest.raises(OSError, match=CUT):
        cluster.get(f"/signal/{signal.SIGSEGV.value}")
    died = cluster.wait("WorkerDied", len(codes) + 1)
    assert died["status"] == "killed by SIGSEGV"
    cluster.until(lambda status: status["ready"] == 2)
    assert cluster.get().status == 200


def test_an_exception_in_a_handler_is_a_500_and_the_worker_lives(cluster: Cluster) -> None:
    cluster.write_app(faulty())
    cluster.start("-w", "1", *QUICK)
    before = cluster.pids()
    for name in ("ValueError", "SystemExit", "KeyboardInterrupt", "MemoryError", "GeneratorExit"):
        assert cluster.get(f"/raise/{name}").status == 500
    for path in ("/later/SystemExit", "/task/SystemExit", "/task/KeyboardInterrupt"):
        assert cluster.get(path).status == 200  # raised outside of any request
    assert cluster.get().status == 200
    assert cluster.pids() == before


# Nothing is used up


@pytest.mark.chaos("C40")
def test_reloads_and_deaths_leave_the_primary_as_it_was(cluster: Cluster) -> None:
    cycles = trials("C40", 50, 1000, 10_000)
    cluster.start(
        "-w", "1", "--soak", "0", "--trial", "0", "--drain-quiet", "0", "--stable-after", "0",
        "--loop", "asyncio", "--no-access-log",
    )  # fmt: skip
    deaths = reloads = 0
    before: dict[str, int] | None = None
    for number in cycles:
        if number % 5 == 0:
            # The journal of 1,000 events and the allocator fill up first.
            before = before if before and number > len(cycles) // 4 else _belongings(cluster)
        if number % 2:
            reloads += 1
            cluster.signal(signal.SIGHUP)
            cluster.wait("ReloadCommitted", reloads)
        else:
            deaths += 1
            os.kill(cluster.pids()[0], signal.SIGKILL)
            cluster.wait("WorkerDied", deaths)
        cluster.until(lambda status: status["ready"] == 1 and len(status["workers"]) == 1)
    after = _belongings(cluster)
    print(f"before {before}\nafter {len(cycles)} cycles {after}")
    assert before is not None
    for what in ("descriptors", "segments", "threads", "children"):
        assert after[what] == before[what], what
    # 1 MiB a thousand cycles; a page table and an arena may come at any moment.
    assert after["kilobytes"] - before["kilobytes"] < 1024 + len(cycles)


def _lasting(count: Callable[[], int]) -> int:
    """What `status` takes, a connection and a thread, is given back just after the answer."""
    counts = []
    for _ in range(50):
        counts.append(count())
        threading.Event().wait(0.002)
    return min(counts)


def _belongings(cluster: Cluster) -> dict[str, int]:
    process = Path(f"/proc/{cluster.pid}")
    rollup = (process / "smaps_rollup").read_text()
    private = re.findall(r"Private_(?:Clean|Dirty): +(\d+) kB", rollup)
    return {
        "descriptors": _lasting(lambda: sum(1 for _ in _open_files(process))),
        "segments": sum("memfd:" in target for target in _open_files(process)),
        "threads": _lasting(lambda: sum(1 for _ in (process / "task").iterdir())),
        "children": len((process / f"task/{cluster.pid}/children").read_text().split()),
        "kilobytes": sum(map(int, private)),
    }


def _open_files(process: Path) -> Iterator[str]:
    """What its descriptors stand for."""
    for entry in (process / "fd").iterdir():
        try:
            yield os.readlink(entry)
        except FileNotFoundError:
            pass  # closed since the directory was read
