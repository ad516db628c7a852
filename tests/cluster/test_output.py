"""`tercio logs`: what workers wrote at last, also those that are dead."""

import json
import os
import signal
import subprocess
import sys

from tests.cluster.harness import DEFAULT_APP, PATIENCE, QUICK, Cluster

APP = "import sys\nprint('imported')\n" + DEFAULT_APP.replace(
    '    body = f"', """    print("asked", scope["path"], file=sys.stderr)\n    body = f\""""
)


def test_log_lines_and_prints_are_shown_with_their_worker(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", "--use-colors")
    cluster.get("/one")
    shown = cluster.tercio("logs").stdout.splitlines()
    assert "   0.1 | imported" in shown
    assert "   1.1 | imported" in shown
    assert [line for line in shown if "| asked /one" in line]
    (access,) = [line for line in shown if '"GET /one HTTP/1.1" 200 OK' in line]
    assert "\x1b" not in access
    assert "x1b" not in access
    told = cluster.tercio("logs", "1", "--json").stdout.splitlines()
    assert {"worker": "1.1", "line": "imported"} in map(json.loads, told)
    assert "there is no slot 7" in cluster.tercio("logs", "7").stderr


def test_a_dead_workers_last_words_stay(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "1", *QUICK)
    cluster.get("/before")
    os.kill(cluster.pids()[0], signal.SIGKILL)
    cluster.wait("WorkerServing", 2)
    cluster.get("/after")
    shown = cluster.tercio("logs", "0").stdout.splitlines()
    words = [line for line in shown if line in ("imported", "asked /before", "asked /after")]
    assert words == ["imported", "asked /before", "imported", "asked /after"]


def test_following_shows_each_line_once_and_ends_with_the_cluster(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "1", *QUICK)
    command = [sys.executable, "-m", "tercio", "logs", "0", "-f"]
    with subprocess.Popen(
        [*command, "--runtime-dir", str(cluster.runtime)],
        stdout=subprocess.PIPE,
        env=cluster.environ,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        lines: list[str] = []

        def read_up_to(end: str) -> None:
            for line in follower.stdout or ():
                lines.append(line.rstrip("\n"))
                if lines[-1] == end:
                    return
            raise AssertionError(f"no {end!r} in {lines}")

        read_up_to("imported")
        for number in range(20):
            cluster.get(f"/{number}")
        read_up_to("asked /19")
        assert cluster.ask("reload", wait=True)["generation"] == 2
        cluster.get("/new")
        read_up_to("asked /new")
        assert cluster.stop() == 0
        assert follower.wait(PATIENCE) == 0
    asked = [line for line in lines if line.startswith("asked")]
    assert asked == [*(f"asked /{number}" for number in range(20)), "asked /new"]
