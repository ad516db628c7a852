"""Jobs of real clusters: each due time is taken once, whoever dies, hangs or leaves."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import QUICK, Cluster
from tests.engines.redis.valkey import Valkey
from tests.worker.rig import until

APP = """
import asyncio, json, os
from pathlib import Path
from tercio import cluster
from tercio.jobs import Run

cluster.jobs.takeover = 1.5

@cluster.every(0.2, name="beat", drain="cancel")
async def beat(run: Run):
    # One step: whoever came first for this time, and the highest token.
    key = f"run:{run.scheduled.timestamp()}"
    times = await cluster.state.incr(key)
    await cluster.state.update("runs", lambda runs: [*runs, [run.token, times, os.getpid()]], [])

# MORE

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"].startswith("/set/"):
        await cluster.state.set(scope["path"][5:], 1)
    name = "runs" if scope["path"] == "/" else scope["path"][1:]
    body = json.dumps(await cluster.state.get(name)).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


def read(cluster: Cluster, path: str = "/") -> Any:
    return json.loads(cluster.get(path).text) or []


def runs_until(cluster: Cluster, is_enough: Callable[[list[Any]], bool]) -> list[Any]:
    found: list[Any] = []

    def look(_: object) -> bool:
        found[:] = read(cluster)
        return is_enough(found)

    cluster.until(look)
    check(found)
    return found


def check(runs: list[Any]) -> None:
    assert all(times == 1 for _, times, _ in runs), "a due time was taken twice"
    tokens = [token for token, _, _ in runs]
    assert len(tokens) == len(set(tokens)), "each run has a token of its own"
    # Of one worker: what another one wrote, that was stopped, may come late.
    for one in {pid for _, _, pid in runs}:
        its = [token for token, _, pid in runs if pid == one]
        assert its == sorted(its), "tokens grow"


def job(cluster: Cluster, name: str = "beat") -> dict[str, Any]:
    return next((each for each in cluster.status()["jobs"] if each["job"] == name), {})


def test_one_of_four_workers_runs_and_the_next_when_it_dies_hangs_or_is_reloaded(
    cluster: Cluster,
) -> None:
    cluster.write_app(APP)
    cluster.start(*QUICK, "-w", "4", "--no-access-log")
    runs = runs_until(cluster, lambda runs: len(runs) >= 8)
    assert len({pid for _, _, pid in runs}) == 1

    # Seen from outside.
    cluster.until(lambda _: bool(job(cluster)) and job(cluster)["outcome"] == "success")
    seen = job(cluster)
    assert seen["schedule"] == "every 0.2 s"
    assert seen["next_run"] > seen["last_run"] > 1.7e9
    runner = next(w for w in cluster.status()["workers"] if w["worker"] == seen["runner"])
    assert runner["pid"] == runs[-1][2]
    text = cluster.tercio("status").stdout
    assert "NEXT RUN" in text
    assert "every 0.2 s" in text
    metrics = cluster.tercio("metrics").stdout
    assert 'tercio_job_runs_total{job="beat",outcome="success"}' in metrics
    assert 'tercio_job_duration_seconds_count{job="beat"}' in metrics
    assert 'tercio_job_last_success_timestamp_seconds{job="beat"}' in metrics

    # Killed.
    os.kill(runs[-1][2], signal.SIGKILL)
    killed = runs[-1][2]
    runs = runs_until(cluster, lambda runs: runs[-1][2] != killed)

    # Stopped, for longer than its lease.
    stopped = runs[-1][2]
    os.kill(stopped, signal.SIGSTOP)
    try:
        runs = runs_until(cluster, lambda runs: runs[-1][2] not in (killed, stopped))
    finally:
        os.kill(stopped, signal.SIGCONT)
    runs = runs_until(cluster, lambda now: len(now) >= len(runs) + 3)

    # Replaced: no time without a runner that is longer than some periods.
    before = len(runs)
    done = cluster.tercio("reload")
    assert done.returncode == 0, done.stderr
    serving = set(cluster.pids().values())
    runs = runs_until(cluster, lambda runs: len(runs) > before and runs[-1][2] in serving)
    assert cluster.stop() == 0
    cluster.wait_no_processes()


FENCED = """
@cluster.every(0.2, name="fenced")
def fenced(run: Run):
    state = cluster.sync.state
    if state.set("first", os.getpid(), nx=True):
        state.set("begun", os.getpid())
        while state.get("set") is None:
            run.stop.wait(0.05)
        write(run, "late")
        state.set("was_lost", 1 if run.lost.wait(20) else 0)
    else:
        write(run, "right")

def write(run, text):
    def higher(before):
        if before is not None and before[0] > run.token:
            cluster.sync.state.incr("refused")
            return before
        return [run.token, text]
    cluster.sync.state.update("written", higher)
"""


def test_the_late_write_of_a_runner_that_was_stopped_is_refused(cluster: Cluster) -> None:
    cluster.write_app(APP.replace("# MORE", FENCED))
    cluster.start(*QUICK, "-w", "2", "--no-access-log")
    cluster.until(lambda _: bool(read(cluster, "/begun")))
    pid = read(cluster, "/begun")
    os.kill(pid, signal.SIGSTOP)
    try:
        cluster.until(lambda _: bool(read(cluster, "/written")))
        assert cluster.get("/set/set").status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.until(lambda _: read(cluster, "/refused") == 1)
    cluster.until(lambda _: read(cluster, "/was_lost") == 1)
    assert read(cluster, "/written")[1] == "right"


LONG = """
@cluster.once(name="long", key=os.environ.get("KEY", ""), drain="DRAIN")
async def long(run: Run):
    number = await cluster.state.incr("long:begun")
    if number > 1:
        await cluster.state.set("again", [number, os.getpid()])
        return
    try:
        await cluster.state.set("begun", os.getpid())
        while await cluster.state.get("may_go") is None:
            await asyncio.sleep(0.02)
        await cluster.state.set("done", os.getpid())
    except asyncio.CancelledError:
        Path("cancelled.txt").write_text(str(os.getpid()))
        await cluster.state.set("cancelled", os.getpid())
        raise
"""


@pytest.mark.parametrize("drain", ["wait", "cancel", "handover"])
def test_a_reload_does_with_a_run_what_the_job_says(cluster: Cluster, drain: str) -> None:
    cluster.write_app(APP.replace("# MORE", LONG.replace("DRAIN", drain)))
    cluster.start(*QUICK, "-w", "2", "--no-access-log", "--drain-timeout", "25")
    cluster.until(lambda _: bool(read(cluster, "/begun")))
    pid = read(cluster, "/begun")
    assert cluster.tercio("reload", "--no-wait").returncode == 0
    if drain == "wait":
        # Others look at the clock while it goes on.
        runs = read(cluster)
        runs_until(cluster, lambda now: len(now) > len(runs) and now[-1][2] != pid)
        assert cluster.get("/set/may_go").status == 200
        cluster.until(lambda _: read(cluster, "/done") == pid)
        assert read(cluster, "/cancelled") == []
    else:
        cluster.until(lambda _: read(cluster, "/cancelled") == pid)
        if drain == "handover":
            cluster.until(lambda _: bool(read(cluster, "/again")))
            number, other = read(cluster, "/again")
            assert (number, other != pid) == (2, True)
    cluster.until(lambda _: pid not in cluster.living())
    runs_until(cluster, lambda runs: runs[-1][2] != pid)
    assert read(cluster, "/long:begun") == (2 if drain == "handover" else 1)


def test_two_clusters_over_one_server_share_one_runner(
    new_cluster: Callable[[], Cluster],
) -> None:
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        server = Valkey(Path(directory))
        try:
            one, two = new_cluster(), new_cluster()
            for each in (one, two):
                each.write_app(APP)
                each.start(*QUICK, "-w", "2", "--redis", server.url, "--redis-required")
            runs = runs_until(one, lambda runs: len(runs) >= 6)
            by_pid = {pid: each for each in (one, two) for pid in each.pids().values()}
            its = by_pid[runs[-1][2]]
            other = two if its is one else one
            assert its.stop() == 0
            runs_until(other, lambda runs: by_pid[runs[-1][2]] is other)
        finally:
            server.kill()


CRON = """
@cluster.cron("* * * * * *", name="each second", misfire=MISFIRE)
async def each_second(run: Run):
    await cluster.state.update("seconds", lambda before: [*before, run.scheduled.timestamp()], [])
"""


@pytest.mark.parametrize("misfire", [60, 0])
def test_a_restart_over_a_kept_state_repeats_no_run(cluster: Cluster, misfire: int) -> None:
    """What is made up for is one run, for the last time of all, unless it is too late for that."""
    cluster.write_app(APP.replace("# MORE", CRON.replace("MISFIRE", str(misfire))))
    options = (*QUICK, "--state-dir", str(cluster.directory / "state"), "-w", "2")
    cluster.start(*options, "--no-access-log")
    cluster.until(lambda _: len(read(cluster, "/seconds")) >= 2)
    assert not missed(cluster)
    before = read(cluster, "/seconds")
    assert cluster.stop() == 0
    ended = time.time()
    until(lambda: time.time() > ended + 1)  # at least one is due meanwhile
    cluster.start_again(*options, "--no-access-log")
    cluster.until(lambda _: len(read(cluster, "/seconds")) >= len(before) + 3)
    seconds = read(cluster, "/seconds")
    assert seconds == sorted(set(seconds)), "each once"
    assert all(second.is_integer() for second in seconds)
    assert missed(cluster) == (misfire == 0)


def missed(cluster: Cluster) -> float:
    """How many runs were left out."""
    text = cluster.tercio("metrics").stdout
    start = 'tercio_job_runs_total{job="each second",outcome="missed"} '
    return sum(
        float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start)
    )


FAILING = """
@cluster.every(0.2, name="bad")
def bad():
    raise ValueError("no disk for ada")
"""


def test_a_job_that_raises_is_seen_and_goes_on(cluster: Cluster) -> None:
    cluster.write_app(APP.replace("# MORE", FAILING))
    cluster.start(*QUICK, "-w", "2", "--no-access-log")
    cluster.until(lambda _: job(cluster, "bad").get("outcome") == "error")
    assert job(cluster, "bad")["error"] == "ValueError: no disk for ada"
    assert "ValueError: no disk for ada" in cluster.tercio("status").stdout
    cluster.wait_line("Traceback")
    runs_until(cluster, lambda runs: len(runs) >= 4)


def test_jobs_of_a_template_run_in_one_worker_and_wrong_ones_end_the_start(
    new_cluster: Callable[[], Cluster],
) -> None:
    one = new_cluster()
    one.write_app(APP)
    one.start(*QUICK, "-w", "3", "--preload", "--no-access-log")
    runs = runs_until(one, lambda runs: len(runs) >= 4)
    assert {pid for _, _, pid in runs} <= set(one.pids().values())
    wrong = new_cluster()
    wrong.write_app(APP.replace("# MORE", '\ncluster.cron("61 * * * *")(print)\n'))
    wrong.start(*QUICK, wait="")
    assert wrong.wait_end() != 0
    assert any("cron('61 * * * *') cannot be understood" in line for line in wrong.lines)


def test_a_stop_during_a_reload_shortens_the_wait_for_a_job(cluster: Cluster) -> None:
    cluster.write_app(APP.replace("# MORE", LONG.replace("DRAIN", "wait")))
    cluster.start(
        *QUICK, "-w", "2", "--no-access-log", "--drain-timeout", "60", "--stop-timeout", "2"
    )
    cluster.until(lambda _: bool(read(cluster, "/begun")))
    pid = read(cluster, "/begun")
    assert cluster.tercio("reload", "--no-wait").returncode == 0
    cluster.until(
        lambda status: any(
            worker["pid"] == pid and worker["phase"] == "draining" for worker in status["workers"]
        )
    )
    assert cluster.stop() == 0
    # It was told, not killed.
    assert (cluster.directory / "cancelled.txt").read_text() == str(pid)
