"""The programs of docs/problems/: the wrong ones fail as the pages say, the right ones don't."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from examples.problems import endings, listeners, users
from examples.problems.load import ask_often
from examples.problems.measure import AS_ELSEWHERE, flood_with_one_stopped, kill_and_wait
from examples.problems.q29_collector import Collector
from examples.problems.waits import beside

from tercio.testing import Running, workers
from tests.cluster.chaos.tiers import SLACK

ROOT = Path(__file__).resolve().parents[2]

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@contextmanager
def serving(name: str, n: int = 4, *options: str, **env: str) -> Iterator[Running]:
    with workers(f"examples.problems.{name}:app", n, *options, cwd=ROOT, env=env) as cluster:
        try:
            yield cluster
        except BaseException:
            print(cluster.output())
            raise


def ask(cluster: Running, requests: int) -> list[int]:
    """What so many requests were answered."""
    return list(map(int, asyncio.run(ask_often(cluster.url, "/hit", requests))))


# Q21


def test_q21_a_variable_of_the_module_is_a_separate_one_in_each_worker() -> None:
    with serving("q21_naive") as cluster:
        answers = ask(cluster, 500)
        while answers.count(1) < 2:  # the kernel gave all connections to one worker
            answers += ask(cluster, 500)
    # Each worker that served has counted 1, 2, 3, …: no number is given oftener than a lower one.
    times = [answers.count(number) for number in range(1, max(answers) + 1)]
    assert times == sorted(times, reverse=True)
    assert sum(times) == len(answers)
    assert max(answers) < len(answers)


def test_q21_copies_by_messages_give_numbers_twice_and_agree_in_the_end() -> None:
    with serving("q21_copies") as cluster:
        answers = ask(cluster, 2000)
        while len(set(answers)) == len(answers):
            answers += ask(cluster, 2000)
        while answers[-1] != len(answers):
            answers += ask(cluster, 1)


def test_q21_no_two_requests_get_the_same_number() -> None:
    with serving("q21_right") as cluster:
        assert sorted(ask(cluster, 4000)) == list(range(1, 4001))


# Q22


@linux
def test_q22_a_parent_that_restarts_at_once_starts_hundreds_a_second() -> None:
    assert endings.program("q22_naive", "--seconds", "1")["starts"] > 30


@linux
def test_q22_the_textbooks_throttle_stops_the_healthy_ones() -> None:
    found = endings.program("q22_naive", "--throttle")
    assert found["gave_up"]
    assert found["healthy_workers_stopped"] >= 2


def test_q22_what_cannot_start_is_tried_with_pauses_and_comes_back_when_it_is_mended() -> None:
    found = endings.broken_for(4.0)
    assert found["starts a second"] < 10  # of 8 slots, whose pauses grow from 0.25 to 2 s


def test_q22_the_end_of_some_stops_no_other() -> None:
    assert endings.six_of_eight()["healthy workers stopped"] == 0


# Q23


@pytest.mark.alone
@pytest.mark.parametrize(
    ("name", "options", "stalls"),
    [
        ("q23_naive", AS_ELSEWHERE, True),
        pytest.param("q23_naive", (), False, marks=linux),
        ("q23_right", (), False),
    ],
    ids=["as elsewhere", "rescued", "offloaded"],
)
def test_q23_who_shares_a_worker_with_something_long_waits_unless_one_of_them_moves(
    name: str, options: tuple[str, ...], stalls: bool
) -> None:
    with serving(name, 4, *options) as cluster:
        waits = asyncio.run(beside(cluster.url, "/long?seconds=3", 3.0))
    if stalls:
        assert waits.stalled(2.0) > 0
    else:
        assert waits.stalled(0.25 * SLACK) == 0


# Q24


@linux
def test_q24_a_parent_that_relays_works_for_every_message_and_keeps_what_is_not_read() -> None:
    # A process of its own: this one has memory to spare from other tests, and would not grow.
    command = [sys.executable, "-m", "examples.problems.q24_naive", "--messages", "2000"]
    done = subprocess.run(
        [*command, "--size", "10000", "--stop-one"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["delivered"] == 4000
    assert figures["in_order"]
    assert figures["parent_cpu_seconds"] > 0.0
    sent = 2000 * 10_000 / 2**20
    assert figures["parent_grown_mib"] > sent / 2


@linux
def test_q24_on_the_bus_a_stopped_worker_costs_nobody_else_and_counts_what_it_missed() -> None:
    with serving("q24_right", 4, "--stopped-kill", "0") as cluster:
        seen = flood_with_one_stopped(cluster, 1000, 10_000)
    assert seen.primary_grown < 1.0
    assert seen.publisher_grown < 4.0
    for report in (*seen.others, seen.stopped):
        assert report["in_order"]
        assert report["heard"] + report["missed"] == 1000
    assert seen.stopped["missed"] > 0


def test_q24_with_block_a_publisher_waits_for_the_slow_and_nothing_is_missed() -> None:
    with serving("q24_right", 3, Q24_POLICY="block") as cluster:
        cluster.get("/flood?count=3000&size=1000")
        reports = [cluster.get_json("/heard") for _ in range(2)]
    assert [(r["heard"], r["missed"], r["in_order"]) for r in reports] == [(3000, 0, True)] * 2


# Q25


@linux
@pytest.mark.parametrize("options", [(), ("--textbook",)], ids=["all at once", "one by one"])
def test_q25_a_reload_by_killing_fails_requests(options: tuple[str, ...]) -> None:
    with endings.parent_that_reloads(*options) as (port, reload):
        found = endings.reloaded(port, reload, 1)
    assert found["failed requests"] > 0
    assert found["processes that answered"] > 4


def test_q25_no_request_fails_in_a_reload() -> None:
    found = endings.reloaded_by_tercio(2)
    assert found["failed requests"] == 0
    assert found["processes that answered"] > 4


# Q26


def test_q26_a_session_in_memory_is_known_to_one_worker() -> None:
    with serving("q26_naive", 4, *AS_ELSEWHERE) as cluster:
        people = users.logged_in(cluster)
        assert users.known(people, times=3) < 60


def test_q26_by_address_one_worker_does_it_all_and_takes_it_with_it() -> None:
    with serving("q26_naive", 4, "--balance", "sticky-ip") as cluster:
        people = users.logged_in(cluster)
        assert users.known(people) == 100
        (slot,) = users.loads(cluster)
        cluster.kill(slot)
        assert users.known(people) == 0


def test_q26_a_signed_cookie_cannot_be_taken_back() -> None:
    with serving("q26_signed") as cluster:
        (user,) = users.logged_in(cluster, 1)
        stolen = users.User(cluster.url, user.cookie)
        user.get("/logout")
        assert stolen.get("/me") == "0"


def test_q26_sessions_in_the_state_are_known_everywhere_and_end_everywhere() -> None:
    with serving("q26_right") as cluster:
        people = users.logged_in(cluster)
        assert users.known(people, times=3) == 100
        assert len(users.loads(cluster)) > 1
        cluster.kill(0)
        assert users.known(people) == 100
        stolen = [users.User(cluster.url, user.cookie) for user in people]
        for user in people:
            user.get("/logout")
        assert users.known(stolen) == 0


# Q27


@linux
def test_q27_the_heap_says_nothing_of_what_c_code_forgets() -> None:
    found = endings.leaked("q27_naive", "--limit-max-memory", "0", mib=80)
    assert found["own memory at most, MiB"] > 70
    assert found["heap said at most, MiB"] < 5
    assert found["workers replaced"] == 0


@linux
def test_q27_a_limit_on_the_process_replaces_those_that_leak_one_by_one() -> None:
    found = endings.leaked("q27_right", "--limit-max-memory", "60MiB", mib=120)
    assert found["workers replaced"] > 0
    assert found["ready at least"] == 4
    assert found["failed requests"] == 0


# Q28


def test_q28_a_worker_tells_its_own_clients_only() -> None:
    with serving("q28_naive", 4, "--no-access-log") as cluster:
        arrived, twice = asyncio.run(listeners.delivered(cluster.url))
        assert arrived < 60
        assert twice == 0


def test_q28_a_client_that_reads_nothing_stops_the_others() -> None:
    with serving("q28_naive", 1, "--no-access-log") as cluster:
        assert asyncio.run(listeners.past_a_stalled_one(cluster.url)) < 100


def test_q28_a_room_reaches_every_client_once_and_waits_for_none() -> None:
    with serving("q28_right", 4, "--no-access-log") as cluster:
        assert asyncio.run(listeners.delivered(cluster.url)) == (100, 0)
        assert asyncio.run(listeners.past_a_stalled_one(cluster.url)) == 100


# Q29


def test_q29_a_collector_that_is_behind_does_not_hear_of_all_requests() -> None:
    with tempfile.TemporaryDirectory(prefix="tercio-") as directory:  # short, for a socket's path
        path = os.path.join(directory, "collector")
        with Collector(path) as collector, serving("q29_naive", 2, Q29_COLLECTOR=path) as cluster:
            os.kill(collector.pid, signal.SIGSTOP)
            assert len(asyncio.run(ask_often(cluster.url, "/hit", 2000))) == 2000
            os.kill(collector.pid, signal.SIGCONT)
            # Its socket holds some hundreds at most, so it will never hear of all.
            before = collector.total
            assert len(asyncio.run(ask_often(cluster.url, "/hit", 1))) == 1
            while collector.total == before:
                time.sleep(0.01)
            assert collector.total < 2001


def test_q29_files_of_dead_workers_stay(tmp_path: Path) -> None:
    with serving("q29_files", PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) as cluster:
        first = cluster.pids()[0]
        kill_and_wait(cluster, 0)
        assert (tmp_path / f"counter_{first}.db").exists()
        assert len(list(tmp_path.iterdir())) > len(cluster.pids())


def test_q29_totals_are_exact_although_workers_die() -> None:
    with serving("q29_right") as cluster:
        made = len(asyncio.run(ask_often(cluster.url, "/hit", 1000)))
        for slot in range(4):
            made += kill_and_wait(cluster, slot)
        assert cluster.get_json("/total") == made
        assert f"\nhits_total {made}" in cluster.get("/metrics").decode()


# Q30


def test_q30_a_parent_that_serves_keeps_its_workers_from_the_port() -> None:
    found = endings.program("q30_naive")
    assert all("in use" in said for said in found["workers"])


@linux
def test_q30_a_shared_port_is_shared_with_strangers() -> None:
    found = endings.program("q30_naive", "--share")
    assert found["workers"] == ["listens", "listens"]
    assert found["connections_of_a_stranger"] > 0


def test_q30_workers_share_the_port_of_a_primary_that_serves_nothing_and_nobody_else_does() -> None:
    found = endings.second_start()
    assert found["answered by"] <= found["workers"]
    assert found["primaries"] == {found["owner"]}
    assert found["code"] == 1
    assert f"is in use by pid {found['owner']}" in found["said"]


@linux
def test_the_figures_of_a_page_can_be_made_anew() -> None:
    command = ["examples.problems.measure", "q21", "--rounds", "1", "--count", "400"]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    page = (ROOT / "docs/problems/q21.md").read_text()
    assert lines[0] in page
    assert [line.split(" | ")[0] for line in lines[2:5]] == [
        "| variable of the module",
        "| copies by messages",
        "| cluster.state.incr",
    ]
    assert lines[4].split(" | ")[1] == "0"
    assert "400 a round" in lines[-1]
