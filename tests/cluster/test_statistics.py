"""Statistics of a real cluster: exact whoever dies, never falling, and free for the primary."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tercio.metrics import Snapshot
from tests.cluster.chaos.tiers import SLACK, trials
from tests.cluster.harness import QUICK, Answer, Cluster
from tests.cluster.load import Load
from tests.cluster.look import short_directory
from tests.cluster.probing import ask
from tests.cluster.spent import Spent

APP = """
import os, sys
import prometheus_client as p
from tercio import cluster

visits = cluster.metrics.counter("visits", "Visits", ["path"])
level = cluster.metrics.gauge("level", "Level")
latency = cluster.metrics.histogram("latency", "Seconds", buckets=(1, 2))
jobs = p.Counter("jobs", "Jobs", ["kind"])
sizes = p.Histogram("sizes", "Bytes", ["kind"], buckets=(10, 100))
gauges = {m: p.Gauge(f"gauge_{m}", m, multiprocess_mode=m) for m in p.Gauge._MULTIPROC_MODES}
pid = os.getpid()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    status, body = 200, f"one {pid}"
    if path == "/metrics":
        body = cluster.metrics.text()
    elif path == "/totals":
        body = str((await cluster.metrics.totals())["visits_total"])
    elif path == "/fail":
        status = 503
    else:
        visits.inc(path=path)
        level.set(5)
        latency.observe(1.5)
        jobs.labels("mail").inc(2)
        sizes.labels("mail").observe(50)
        for mode, gauge in gauges.items():
            gauge.set(pid)
    body = body.encode()
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""

SOON = ("--backoff-base", "0.05", "--backoff-cap", "0.1", "--breaker-deaths", "1000")


def start(cluster: Cluster, *options: str) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", "--no-access-log", *QUICK, *options)


def look(cluster: Cluster) -> Snapshot:
    return Snapshot.from_json(cluster.ask("metrics"))


def visit_both(cluster: Cluster) -> int:
    """Ask until each worker has answered; how often that took."""
    both, seen, count = set(cluster.pids().values()), set[int](), 0
    deadline = time.monotonic() + 30
    while seen != both:
        assert time.monotonic() < deadline, f"only {seen} of {both} answered"
        seen.add(cluster.get("/").pid)
        count += 1
    return count


def settle(cluster: Cluster, requests: int) -> None:
    """Wait until so many are counted: an answer is a turn of the loop ahead of its count."""
    cluster.until(lambda status: status["requests"] == requests)


def kill(cluster: Cluster, slot: int) -> int:
    """Kill the worker in a slot and wait for its successor; the pid of the dead."""
    pid = cluster.pids()[slot]
    os.kill(pid, signal.SIGKILL)
    cluster.until(
        lambda status: any(
            w["slot"] == slot and w["phase"] == "serving" and w["pid"] != pid
            for w in status["workers"]
        )
    )
    return pid


def counts(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Every number that may only grow."""
    found = {}
    for name, family in snapshot.families.items():
        for labels, value in family.series.items():
            if family.kind == "counter" and isinstance(value, float):
                found[name, str(labels)] = value
            elif family.kind != "gauge" and not isinstance(value, float):
                found[name, str(labels)] = value.count
    return found


def test_totals_are_exact_when_workers_die_and_there_is_one_text_for_all(cluster: Cluster) -> None:
    with short_directory() as directory:
        count_with_deaths(cluster, directory / "h")


def count_with_deaths(cluster: Cluster, door: Path) -> None:
    start(cluster, *SOON, "--health", f"unix:{door}")
    asked = visit_both(cluster)
    assert cluster.get("/fail").status == 503
    for slot in (0, 1, 0):
        settle(cluster, asked + 1)
        kill(cluster, slot)
        for _ in range(10):
            asked += bool(cluster.get("/").pid)
        asked += visit_both(cluster)
    settle(cluster, asked + 1)
    snapshot = look(cluster)
    assert snapshot["visits_total"] == snapshot.value("visits_total", path="/") == asked
    assert snapshot["latency"] == snapshot["sizes"] == asked
    assert snapshot.distribution("latency").sum == 1.5 * asked
    assert snapshot.distribution("sizes", kind="mail").buckets == {
        10: 0,
        100: asked,
        float("inf"): 0,
    }
    assert snapshot["jobs_total"] == 2 * asked
    assert snapshot.value("tercio_requests_total", status="2xx") == asked
    assert snapshot.value("tercio_requests_total", status="5xx") == 1
    assert snapshot["tercio_request_duration_seconds"] == asked + 1
    assert snapshot["tercio_worker_restarts_total"] == 3
    assert float(cluster.get("/totals").text) == asked
    scraped = ask(door, "/metrics").body.decode()
    for text in (cluster.get("/metrics").text, cluster.tercio("metrics").stdout, scraped):
        families = {f.name: f for f in text_string_to_metric_families(text)}
        assert families["visits"].samples[0].value == asked
        assert families["jobs"].samples[0].value == 2 * asked  # prometheus_client's
        sizes = {s.name: s.value for s in families["sizes"].samples}
        assert sizes["sizes_count"] == asked
        assert families["tercio_workers_target"].samples[0].value == 2
        assert {s.labels["worker"] for s in families["tercio_worker_pid"].samples} == {"0", "1"}


def test_gauges_of_prometheus_client_go_by_their_mode_and_end_with_their_worker(
    cluster: Cluster,
) -> None:
    start(cluster, *SOON)
    visit_both(cluster)
    pids = cluster.pids()
    snapshot = look(cluster)
    living = set(pids.values())
    assert snapshot["level"] == 10
    assert snapshot["gauge_sum"] == snapshot["gauge_livesum"] == sum(living)
    assert snapshot["gauge_max"] == snapshot["gauge_livemax"] == max(living)
    assert snapshot["gauge_min"] == snapshot["gauge_livemin"] == min(living)
    assert snapshot["gauge_livemostrecent"] in living
    assert {snapshot.value("gauge_all", pid=pid) for pid in living} == living
    dead = kill(cluster, 0)
    after = look(cluster)
    assert after["gauge_livesum"] == after["gauge_livemostrecent"] == sum(living - {dead})
    assert after["gauge_max"] == max(living)
    assert after["gauge_sum"] == sum(living)
    assert after.value("gauge_all", pid=dead) == 0
    assert after["level"] == 5


def test_an_attached_process_counts_with_the_workers_and_what_it_counted_stays(
    cluster: Cluster,
) -> None:
    start(cluster)
    asked = visit_both(cluster)
    code = (
        "from tercio import cluster; metrics = cluster.metrics\n"
        "metrics.counter('visits', 'Visits', ['path']).inc(100, path='batch')\n"
        "metrics.gauge('level').set(7)\n"
        "print(metrics.read()['visits_total'], metrics.read()['level'])"
    )
    where = ["--runtime-dir", str(cluster.runtime)]
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "exec", *where, "--", sys.executable, "-c", code],
        env=cluster.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == [str(asked + 100.0), "17.0"], done.stderr
    cluster.until(lambda status: look(cluster)["level"] == 10)  # its seat is free again
    assert look(cluster)["visits_total"] == asked + 100
    assert look(cluster).value("visits_total", path="batch") == 100


@contextmanager
def visitors(cluster: Cluster, number: int) -> Iterator[list[Answer | None]]:
    """Threads that visit, until the end of the block; None for a visit without an answer."""
    answers: list[Answer | None] = []
    ends = threading.Event()

    def visit() -> None:
        while not ends.is_set():
            try:
                answers.append(cluster.get("/"))
            except (OSError, urllib.error.URLError):
                answers.append(None)

    threads = [threading.Thread(target=visit) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def test_no_total_falls_while_workers_are_killed_under_load_and_through_a_reload(
    cluster: Cluster,
) -> None:
    start(cluster, *SOON)
    before: dict[tuple[str, str], float] = {}

    def compare() -> None:
        nonlocal before
        now = counts(look(cluster))
        assert {key: now.get(key, -1) for key in before if now.get(key, -1) < before[key]} == {}
        before = now

    with visitors(cluster, 3) as answers:
        for slot in (0, 1, 0):
            pid = cluster.pids()[slot]
            reached = len(answers) + 20
            while len(answers) < reached:
                compare()
            os.kill(pid, signal.SIGKILL)
            while pid in cluster.pids().values() or len(cluster.pids()) < 2:
                compare()
        reload = threading.Thread(target=cluster.ask, args=("reload",))
        reload.start()
        while reload.is_alive():
            compare()
        reload.join()
    compare()
    acknowledged = sum(answer is not None for answer in answers)
    total = look(cluster)["visits_total"]
    assert acknowledged > 60
    assert acknowledged <= total <= len(answers)
    assert look(cluster)["tercio_reloads_total"] == 1


@pytest.mark.alone
def test_after_many_crashes_the_text_has_not_grown_and_there_are_no_files(
    cluster: Cluster,
) -> None:
    start(cluster, *SOON)
    visit_both(cluster)
    kill(cluster, 0)  # what is of the dead is kept from now on
    visit_both(cluster)

    def lines() -> list[str]:
        text = cluster.tercio("metrics").stdout
        # Numbers and pids change; what is counted does not.
        return [line.rpartition(" ")[0].partition('{pid="')[0] for line in text.splitlines()]

    def takes() -> float:
        """Seconds until the primary has answered, the best of some."""
        times = []
        for _ in range(5):
            began = time.perf_counter()
            cluster.ask("metrics")
            times.append(time.perf_counter() - began)
        return min(times)

    before, took = lines(), takes()
    crashes = len(trials("statistics", 8, 50, 200))
    for number in range(crashes):
        kill(cluster, number % 2)
        cluster.get("/")
    visit_both(cluster)
    assert lines() == before
    assert takes() < SLACK * took + 0.1
    assert sorted(p.name for p in cluster.directory.iterdir() if p.is_file()) == ["app.py"]
    snapshot = look(cluster)
    assert snapshot["tercio_worker_restarts_total"] == crashes + 1
    assert snapshot["tercio_metrics_series_dropped"] == snapshot["tercio_metrics_entries_torn"] == 0


@pytest.mark.alone
def test_the_primary_pays_for_no_request(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", "--no-access-log", "--stats-interval", "1")

    def primary_costs(seconds: float) -> tuple[float, float]:
        """CPU seconds a second, and requests."""
        begun = look(cluster)["visits_total"]
        before, began = Spent.by([cluster.pid]), time.monotonic()
        time.sleep(seconds)  # a load is what is measured
        spent = (Spent.by([cluster.pid]) - before).cpu_ns / 1e9 / (time.monotonic() - began)
        return spent, look(cluster)["visits_total"] - begun

    with Load(cluster.port, kept=1, think=0.02) as load:
        load.wait_for(5)
        slow, few = primary_costs(2.0)
    with Load(cluster.port, kept=16, think=0) as load:
        load.wait_for(50)
        fast, many = primary_costs(2.0)
    assert many > 5 * few
    assert fast < 0.01 * SLACK
    assert fast < slow + 0.005 * SLACK


def test_a_line_of_statistics_comes_each_interval_and_is_not_kept(cluster: Cluster) -> None:
    start(cluster, "--stats-interval", "0.4")
    asked = visit_both(cluster)
    cluster.get("/fail")
    total, failed, last = 0, 0, {}
    for count in range(1, 200):
        last = cluster.wait("Statistics", count)
        total, failed = total + last["requests"], failed + last["server_errors"]
        if total > asked:
            break
    assert (total, failed) == (asked + 1, 1)
    assert cluster.wait_line(" requests in ")
    assert last["p99"] is None or last["p50"] <= last["p99"] < 60
    assert last["seconds"] > 0.2
    kept = [
        reply["event"]["kind"]
        for reply in cluster.converse("events", follow=False)
        if "event" in reply
    ]
    assert "Statistics" not in kept
    assert "ClusterReady" in kept


def test_the_command_shows_text_json_and_a_line_a_second(cluster: Cluster) -> None:
    start(cluster)
    asked = visit_both(cluster)
    shown = json.loads(cluster.tercio("metrics", "--json").stdout)
    assert Snapshot.from_json(shown)["visits_total"] == asked
    assert f'visits_total{{path="/"}} {float(asked)}' in cluster.tercio("metrics").stdout
    assert f"{asked} requests · " in cluster.tercio("status").stdout
    command = [sys.executable, "-u", "-m", "tercio", "metrics", "--watch"]
    watching = subprocess.Popen(
        [*command, "--runtime-dir", str(cluster.runtime)],
        cwd=cluster.directory,
        env=cluster.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        assert "requests in" in watching.stdout.readline()
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate()
    assert watching.returncode == 130


def test_an_application_with_files_of_prometheus_client_is_left_alone_and_told(
    cluster: Cluster,
) -> None:
    files = cluster.directory / "files"
    files.mkdir()
    cluster.environ["PROMETHEUS_MULTIPROC_DIR"] = str(files)
    start(cluster)
    visit_both(cluster)
    assert "PROMETHEUS_MULTIPROC_DIR is set" in cluster.wait("WorkerNote")["text"]
    assert "jobs_total" not in look(cluster)
    assert look(cluster)["visits_total"] > 0
    assert list(files.iterdir())
