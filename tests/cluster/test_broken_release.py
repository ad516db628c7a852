"""A release that cannot serve costs nothing: no request, no old worker, no mixture, no rescue."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.history import most_in_a_slot, serving, starts
from tests.cluster.load import Load
from tests.cluster.releases import fail_at_start, release

CALM = ("--no-access-log", "--drain-quiet", "5")
"""Clients of the load think up to 50 ms: none of them is ever quiet for that long."""

GOOD = 'soak = 0.2\ntrial = 0.2\nready-path = "/ready"\n'


@dataclass(frozen=True)
class Broken:
    """A release, how it fails, and how many processes finding that out may take."""

    text: str
    says: str
    starts: int
    settings: str = GOOD
    workers: int = 2
    shows: str = ""  # in the traceback


BROKEN = {
    "import": Broken(
        release("two", at_import="import nothing_of_this_name"),
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        starts=1,
        shows='app.py", line ',
    ),
    "syntax": Broken("def app(:\n", "SyntaxError", starts=1, shows="def app(:"),
    "exit at import": Broken(
        release("two", at_import="sys.exit(0)"), "SystemExit: 0", starts=1, shows="sys.exit(0)"
    ),
    "lifespan": Broken(
        release("two", at_startup='raise RuntimeError("no database")'),
        "RuntimeError: no database",
        starts=1,
        shows='raise RuntimeError("no database")',
    ),
    "hangs in lifespan": Broken(
        release("two", at_startup="await asyncio.Event().wait()"),
        "was not loaded after 1 s (--start-timeout)",
        starts=1,
        settings=GOOD + "start-timeout = 1\n",
    ),
    "hangs in import": Broken(
        release("two", at_import="import time\ntime.sleep(600)"),
        "was not loaded after 1 s (--start-timeout)",
        starts=1,
        settings=GOOD + "start-timeout = 1\n",
    ),
    "never ready": Broken(
        release("two", ready=500),
        "GET /ready answered 500 within 0.6 s",
        starts=1,
        settings=GOOD + "ready-timeout = 0.6\n",
    ),
    # Its canary is ready before it crashes, so that the next one starts; no third one does.
    "crashes while it soaks": Broken(
        release("two", at_startup="asyncio.get_running_loop().call_later(1, os._exit, 3)"),
        "exited with 3",
        starts=2,
        settings='soak = 60\nready-path = "/ready"\n',
    ),
    "third worker fails": Broken(
        release("two", at_import=fail_at_start(3, "@gate@")),
        "RuntimeError: start 3 of this release fails",
        starts=3,
        workers=3,
        shows="fails",
    ),
    # The canary alone, then two at once.
    "second worker fails, surge 2": Broken(
        release("two", at_import=fail_at_start(2, "@gate@")),
        "RuntimeError: start 2 of this release fails",
        starts=3,
        settings=GOOD + "surge = 2\n",
        workers=4,
        shows="fails",
    ),
}


@pytest.mark.chaos("C10 C11", repeat=True)
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_release_costs_no_request(cluster: Cluster, broken: Broken) -> None:
    (cluster.directory / "tercio.toml").write_text(GOOD)
    cluster.write_app(release("one"))
    cluster.start("-w", str(broken.workers), *CALM)
    before = cluster.pids()
    with Load(cluster.port, fresh=4, kept=4) as load:
        load.wait_for(20)
        (cluster.directory / "tercio.toml").write_text(broken.settings)
        cluster.write_app(broken.text.replace("@gate@", str(cluster.directory)))
        command = cluster.tercio("reload")
        assert command.returncode == 1
        assert broken.says in command.stderr
        assert broken.shows in command.stdout
        assert set(load.wait_for(50)) == {"one"}

        assert cluster.pids() == before
        assert starts(cluster.events, 2) == broken.starts
        rejected = cluster.of("ReloadRejected")
        assert [(e["generation"], e["kept"]) for e in rejected] == [(2, 1)]

        (cluster.directory / "tercio.toml").write_text(GOOD)
        cluster.write_app(release("three"))
        assert cluster.ask("reload")["generation"] == 3
        cluster.wait(
            lambda event: event["kind"] == "WorkerLeft" and event["reason"] == "reload",
            count=broken.workers,
        )
        assert set(load.wait_for(50)) == {"three"}
    assert load.failures == []
    assert set(load.tally.releases) == {"one", "three"}
    assert min(serving(cluster.events)) == broken.workers
    assert most_in_a_slot(cluster.events) == 2


@pytest.mark.chaos("C10", repeat=True)
def test_a_release_that_dies_on_trial_gives_the_seats_back(cluster: Cluster) -> None:
    gate = cluster.directory / "crash"
    crash = f"""
async def wait_to_crash():
    while not os.path.exists({str(gate)!r}):
        await asyncio.sleep(0.02)
    os._exit(3)
app.task = asyncio.create_task(wait_to_crash())
"""
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.1", "--trial", "600")
    before = cluster.pids()
    clients = 8
    with Load(cluster.port, fresh=4, kept=4) as load:
        cluster.write_app(release("two", at_startup=crash))
        cluster.ask("reload", wait=False)
        cluster.wait("ReloadTrial")
        assert cluster.pids("parked") == before
        load.wait_for(50)
        gate.touch()
        cluster.wait("ReloadRejected")
        # The one that did not crash first still answers what it has, if only with its last breath.
        cluster.wait(lambda e: e["kind"] in ("WorkerLeft", "WorkerDied"), count=2)
        assert load.wait_for(50) == {"one": 50}
        assert cluster.pids() == before
    # What was in the hands of the dead is lost: of each client one request for each of the two.
    assert len(load.failures) <= 2 * clients
    assert starts(cluster.events, 2) == 2


def test_after_a_rejected_release_a_dead_worker_tries_what_is_on_disk(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.1", "--trial", "0.1")
    cluster.write_app(release("two", at_import="import nothing_of_this_name"))
    assert cluster.tercio("reload").returncode == 1
    (note,) = cluster.status()["notes"]
    assert "the last release was rejected" in note
    assert "comes back with what is on disk" in note

    victim = cluster.pids()[0]
    since = cluster.newest()
    os.kill(victim, signal.SIGKILL)
    cluster.wait("WorkerBootFailed", since=since)
    assert cluster.wait("RestartDelayed", count=2, since=since)["slot"] == 0
    status = cluster.status()
    assert status["ready"] == 1
    assert "nothing_of_this_name" in status["slots"][0]["last_error"]
    assert cluster.get().text.startswith("one ")

    cluster.write_app(release("three"))
    cluster.ask("reload")
    assert cluster.until(lambda status: status["ready"] == 2)["generation"] == 3
    assert cluster.status()["notes"] == []
    assert {cluster.get().text.split()[0] for _ in range(10)} == {"three"}


def test_a_worker_that_comes_back_with_a_rejected_release_is_told_apart(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.1", "--trial", "0.1")
    (old,) = {worker["loaded"] for worker in cluster.status()["workers"]}
    cluster.write_app(release("two", at_import=fail_at_start(2, str(cluster.directory))))
    assert cluster.tercio("reload").returncode == 1

    os.kill(cluster.pids()[1], signal.SIGKILL)
    changed = cluster.wait("FilesChanged")
    cluster.until(lambda status: status["ready"] == 2)
    assert changed["worker"].startswith("1.")
    assert changed["expected"] == old
    loaded = {worker["slot"]: worker["loaded"] for worker in cluster.status()["workers"]}
    assert loaded[0] == old
    assert loaded[1] == changed["loaded"] != old


def test_planned_recycling_pauses_after_a_rejected_release(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    limits = ("--limit-max-requests", "5", "--limit-jitter", "0", "--sample-interval", "0.1")
    cluster.start("-w", "1", *CALM, *limits)
    cluster.write_app(release("two", at_import="import nothing_of_this_name"))
    assert cluster.tercio("reload").returncode == 1
    before = cluster.pids()
    for _ in range(5):
        cluster.get()
    assert "the last release was rejected" in cluster.wait("RetirementPaused")["text"]
    assert cluster.pids() == before


def test_a_broken_file_loses_to_a_rollback_even_when_the_reload_came_by_signal(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM)
    before = cluster.pids()
    cluster.write_app("raise SystemExit\n")
    cluster.signal(signal.SIGHUP)
    assert "SystemExit" in cluster.wait("ReloadRejected")["reason"]
    cluster.signal(signal.SIGUSR2)
    assert "SystemExit" in cluster.wait("ReloadRejected", count=2)["reason"]
    assert cluster.pids() == before
    assert Path(f"/proc/{cluster.pid}").exists()
