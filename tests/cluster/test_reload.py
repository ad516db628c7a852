"""A reload loses no request and no capacity, ends by itself, and yields to a stop."""

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.history import Census, most_in_a_slot, serving, starts
from tests.cluster.load import Load
from tests.cluster.releases import fail_at_start, release

CALM = ("--no-access-log", "--drain-quiet", "5")
"""Clients of the load think up to 50 ms: none of them is ever quiet for that long."""

SHORT = ("--soak", "0.2", "--trial", "0.2")


def settings(cluster: Cluster, text: str) -> None:
    (cluster.directory / "tercio.toml").write_text(text)


def wait_replaced(cluster: Cluster, count: int) -> None:
    """Wait until ``count`` old workers in all are gone."""
    cluster.wait(
        lambda event: event["kind"] == "WorkerLeft" and event["reason"] == "reload", count=count
    )


@contextmanager
def endless_response(cluster: Cluster) -> Iterator[tuple[int, socket.socket]]:
    """A client of a response without an end; gives the pid that answers."""
    with socket.create_connection(("127.0.0.1", cluster.port)) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        first = response.read(8)
        assert first.startswith(b"one ")
        pids = [w["pid"] for w in cluster.until(_is_in_flight)["workers"] if w["in_flight"]]
        yield pids[0], client


def _is_in_flight(status: dict[str, object]) -> bool:
    workers = status["workers"]
    assert isinstance(workers, list)
    return any(worker["in_flight"] for worker in workers)


# Requests


def test_three_reloads_fail_no_request(cluster: Cluster) -> None:
    # Half of the 32 + 32 clients of the full run, which is `benchmarks/reload`: two slow cores
    # carry the clients too.
    cluster.write_app(release("r0"))
    cluster.start("-w", "2", *CALM, *SHORT)
    with Load(cluster.port, fresh=16, kept=16, posts=4, downloads=2, think=0.05) as load:
        load.wait_for(200)
        for number in (1, 2, 3):
            cluster.write_app(release(f"r{number}"))
            assert cluster.ask("reload")["generation"] == number + 1
            wait_replaced(cluster, 2 * number)
            assert set(load.wait_for(500)) == {f"r{number}"}
    assert load.failures == []
    assert len(load.tally.pids) == 8
    # No client of a kept connection was told to go: it went on with the successor.
    assert load.tally.followed == 0
    assert min(serving(cluster.events)) == 2
    assert cluster.of("RequestsCut") == []


def test_without_the_quiet_window_the_same_clients_see_drops(cluster: Cluster) -> None:
    # The counter-test: idle connections closed at once is what other servers do; connections of
    # uvicorn cannot move.
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *SHORT, "--no-access-log", "--drain-quiet", "0", "--server", "uvicorn")
    with Load(cluster.port, kept=16, think=1.0) as load:
        load.wait_for(50)
        cluster.write_app(release("two"))
        cluster.ask("reload")
        wait_replaced(cluster, 2)
        load.wait_for(50)
    assert set(load.failures) <= {"kept: closed before any byte of an answer", "kept: reset"}
    assert load.failures


def test_a_websocket_is_closed_with_1012_and_goes_on_elsewhere(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT, "--drain-timeout", "0.5")
    with Load(cluster.port, websockets=4, kept=2) as load:
        load.wait_for(50)
        cluster.write_app(release("two"))
        cluster.ask("reload")
        wait_replaced(cluster, 2)
        assert load.wait_for(50) == {"two": 50}
    assert load.failures == []
    assert load.tally.followed == 4  # the others moved, and were told nothing
    assert sum(event["websockets"] for event in cluster.of("RequestsCut")) == 4
    assert sum(event["requests"] for event in cluster.of("RequestsCut")) == 0


def test_a_reload_fails_no_client_that_connected_and_did_not_ask_yet(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    with ExitStack() as stack:
        address = ("127.0.0.1", cluster.port)
        early = [stack.enter_context(socket.create_connection(address)) for _ in range(10)]
        cluster.until(lambda status: sum(w["connections"] for w in status["workers"]) == 10)
        cluster.write_app(release("two"))
        cluster.ask("reload")
        for client in early:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = http.client.HTTPResponse(client)
            response.begin()
            assert response.headers["connection"] is None
            assert response.read().startswith((b"one ", b"two "))  # before or after it moved
        wait_replaced(cluster, 2)
        for client in early:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = http.client.HTTPResponse(client)
            response.begin()
            assert response.read().startswith(b"two ")


def test_an_endless_response_holds_a_reload_no_longer_than_the_drain_limit(
    cluster: Cluster,
) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *CALM, *SHORT, "--drain-timeout", "1")
    with endless_response(cluster) as (pid, _):
        cluster.write_app(release("two"))
        cluster.ask("reload")
        cut = cluster.wait("RequestsCut")
        assert (cut["requests"], cut["paths"]) == (1, ["/endless"])
        left = cluster.wait("WorkerLeft")
        draining = cluster.first("WorkerDraining")
        # Its end came after the limit and before the kill that follows a second later.
        assert left["worker"] == draining["worker"]
        assert left["time"] - draining["time"] >= 1
        assert cluster.of("WorkerKilled") == []
        assert cluster.get().pid != pid
    cluster.write_app(release("three"))
    cluster.ask("reload")
    assert cluster.get().text.startswith("three ")


# Capacity


def test_a_slow_import_never_costs_capacity(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    with Load(cluster.port, fresh=4, kept=4) as load:
        cluster.write_app(release("two", at_import="import time\ntime.sleep(2)"))
        cluster.ask("reload")
        wait_replaced(cluster, 2)
        assert set(load.wait_for(50)) == {"two"}
    assert load.failures == []
    assert min(serving(cluster.events)) == 2
    assert load.tally.worst["fresh"] < 2, "a client waited for the import"
    ready = [event for event in cluster.of("WorkerReady") if event["generation"] == 2]
    assert all(event["seconds"] > 2 for event in ready)


@pytest.mark.chaos("C14", repeat=True)
def test_ten_hangups_in_a_second_are_two_reloads(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "2", "--trial", "0.2")
    pause = threading.Event()
    with Census(cluster.pid) as census, Load(cluster.port, fresh=4, kept=4) as load:
        cluster.write_app(release("two"))
        for number in range(10):
            pause.wait(0.1)
            if number == 9:
                cluster.write_app(release("three"))
            cluster.signal(signal.SIGHUP)
        wait_replaced(cluster, 4)
        assert set(load.wait_for(50)) == {"three"}
    assert load.failures == []
    assert [e["generation"] for e in cluster.of("ReloadCommitted")] == [2, 3]
    requests = [number for e in cluster.of("ReloadCommitted") for number in e["requests"]]
    assert requests == list(range(1, len(requests) + 1))
    assert census.looks > 100
    assert census.most <= 4
    assert most_in_a_slot(cluster.events) == 2
    assert min(serving(cluster.events)) == 2
    assert cluster.status()["reload"] is None


# Others meanwhile


def test_a_second_reload_waits_for_the_first_and_both_are_answered(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "1", "--trial", "0.1")
    with ThreadPoolExecutor(2) as threads:
        cluster.write_app(release("two"))
        first = threads.submit(cluster.ask, "reload")
        cluster.wait("ReloadStarted")
        second = threads.submit(cluster.ask, "reload")
        cluster.wait("ReloadQueued")
        cluster.write_app(release("three"))
        assert first.result()["generation"] == 2
        assert second.result()["generation"] == 3
    assert cluster.get().text.startswith("three ")


def test_a_refused_reload_is_no_answer_to_one_that_runs(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *CALM, "--soak", "1", "--trial", "0.1")
    with ThreadPoolExecutor(2) as threads:
        cluster.write_app(release("two"))
        first = threads.submit(cluster.ask, "reload")
        cluster.wait("ReloadStarted")
        settings(cluster, "no such line\n")
        with pytest.raises(AssertionError, match="reload refused"):
            cluster.ask("reload")
        assert first.result()["generation"] == 2


@pytest.mark.chaos("C14", repeat=True)
@pytest.mark.parametrize("stage", ["boot", "trial"])
def test_a_stop_ends_a_running_reload_at_once(cluster: Cluster, stage: str) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, "--soak", "0.1", "--trial", "600")
    hang = "import time\ntime.sleep(600)" if stage == "boot" else ""
    cluster.write_app(release("two", at_import=hang))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(cluster.tercio, "reload")
        reached = (
            (lambda event: event["kind"] == "WorkerStarting" and event["generation"] == 2)
            if stage == "boot"
            else "ReloadTrial"
        )
        cluster.wait(reached)
        # The import and the trial would hold it for ten minutes.
        assert cluster.stop() == 0
        command = waiting.result()
    assert command.returncode == 1
    assert "stopped before the reload was done" in command.stderr
    assert cluster.of("ReloadCommitted") == cluster.of("ReloadRejected") == []
    assert cluster.of("WorkerKilled") == []


def test_a_reload_has_a_deadline(cluster: Cluster) -> None:
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    before = cluster.pids()
    settings(cluster, "reload-timeout = 1.5\n")
    cluster.write_app(release("two", at_startup="await asyncio.Event().wait()"))
    command = cluster.tercio("reload")
    assert command.returncode == 1
    assert "not done after 1.5 s (--reload-timeout)" in command.stderr
    assert cluster.pids() == before
    assert starts(cluster.events, 2) == 1
    cluster.wait("WorkerLeft")


# Options


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('workers = 1\nbind = ["127.0.0.1:1"]\n', "bind"),
        ('workers = 5\nbind = ["127.0.0.1:0"]\n', "use `tercio scale`"),
        ('workers = 1\nbind = ["127.0.0.1:0"]\nbacklog = 5\n', "backlog"),
    ],
)
def test_a_changed_address_is_refused_by_name(cluster: Cluster, text: str, names: str) -> None:
    usual = 'workers = 1\nbind = ["127.0.0.1:0"]\n'
    settings(cluster, usual)
    cluster.write_app(release("one"))
    # An option that begins with --uds keeps the harness from giving a port: a flag would win.
    cluster.start("--uds-permissions", "660", *CALM, *SHORT)
    before = cluster.pids()
    settings(cluster, text)
    cluster.write_app(release("two"))
    command = cluster.tercio("reload")
    assert command.returncode == 1
    assert "reload refused, the old configuration goes on" in command.stderr
    assert names in command.stderr
    assert cluster.pids() == before
    assert cluster.get().text.startswith("one ")
    assert cluster.of("ReloadStarted") == []

    settings(cluster, usual)
    assert cluster.tercio("reload").returncode == 0
    assert cluster.get().text.startswith("two ")


@pytest.mark.parametrize(
    ("text", "says"),
    [("no such line\n", "tercio.toml"), ('soak = "long"\n', "soak"), ("saok = 1\n", "soak")],
)
def test_a_wrong_configuration_keeps_the_old_one(cluster: Cluster, text: str, says: str) -> None:
    settings(cluster, 'root-path = "/old"\n')
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *CALM, *SHORT)
    before = cluster.pids()
    settings(cluster, text)
    command = cluster.tercio("reload")
    assert command.returncode in (1, 2)
    assert says in command.stderr
    cluster.signal(signal.SIGHUP)
    cluster.wait("ReloadRefused", count=2)
    assert cluster.pids() == before
    assert cluster.get("/root").text.endswith(" /old")


def test_a_reload_takes_changed_options_and_a_rollback_gives_them_back(cluster: Cluster) -> None:
    settings(cluster, 'root-path = "/a"\nblocked-after = 30\n')
    cluster.write_app(release("one"))
    cluster.start("-w", "2", *CALM, *SHORT)
    assert cluster.get("/root").text.endswith(" /a")

    settings(cluster, 'root-path = "/b"\nblocked-after = 0.2\nready-path = "/ready"\n')
    cluster.ask("reload")
    assert cluster.get("/root").text.endswith(" /b")
    cluster.get("/block?1")
    assert cluster.wait("WorkerBlocked")["seconds"] < 30
    wait_replaced(cluster, 2)

    settings(cluster, 'root-path = "/c"\nblocked-after = 30\nready-path = "/nowhere"\n')
    cluster.write_app(release("two", at_import=fail_at_start(1, str(cluster.directory))))
    assert cluster.tercio("reload").returncode == 1
    assert {cluster.get("/root").text.split()[2] for _ in range(10)} == {"/b"}
    # Also a worker that starts after the rollback has the options that were committed.
    os.kill(cluster.pids()[0], signal.SIGKILL)
    replacement = cluster.wait("FilesChanged")["worker"]
    cluster.wait(lambda event: event["kind"] == "WorkerServing" and event["worker"] == replacement)
    names: set[str] = set()

    def both_answer(_: dict[str, Any]) -> bool:
        name, _pid, path = cluster.get("/root").text.split()
        names.add(name)
        assert path == "/b"
        return names == {"one", "two"}

    # It has been told to serve: the first answers may still all come from the other one.
    cluster.until(both_answer)


def test_a_longer_start_timeout_holds_for_the_release_that_needs_it(cluster: Cluster) -> None:
    settings(cluster, "start-timeout = 1\nready-timeout = 0.5\n")
    cluster.write_app(release("one"))
    cluster.start("-w", "1", *CALM, *SHORT, "--kill-grace", "0.1")
    settings(cluster, "start-timeout = 60\nready-timeout = 60\n")
    cluster.write_app(release("two", at_import="import time\ntime.sleep(1.5)"))
    cluster.ask("reload")
    assert cluster.get().text.startswith("two ")


def test_a_moved_link_is_followed(cluster: Cluster) -> None:
    for name in ("r1", "r2"):
        (cluster.directory / name).mkdir()
        cluster.write_app(release(name), f"{name}/app.py")
    link = cluster.directory / "current"
    link.symlink_to("r1")
    cluster.directory = link
    cluster.environ["PWD"] = str(link)
    cluster.start("-w", "2", *CALM, *SHORT)
    assert cluster.get().text.startswith("r1 ")

    new = link.with_name("next")
    new.symlink_to("r2")
    new.replace(link)
    os.kill(cluster.pids()[0], signal.SIGKILL)
    assert cluster.wait("FilesChanged")["generation"] == 1
    cluster.ask("reload")
    wait_replaced(cluster, 2)
    assert {cluster.get().text.split()[0] for _ in range(10)} == {"r2"}
    assert Path(f"/proc/{cluster.pids()[0]}/cwd").resolve().name == "r2"
