"""`tercio top` in a real terminal, beside a real cluster."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.cluster.harness import QUICK, Cluster
from tests.cluster.load import Load
from tests.cluster.screen import Screen

APP = """
import os, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/block":
        time.sleep(3)
    body = f"one {os.getpid()}".encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

RESTORED = b"\x1b[?1049l"
"""The terminal shows what it showed before (xterm's alternate screen buffer)."""


def top(cluster: Cluster, *options: str) -> Screen:
    command = ["tercio", "top", "--interval", "0.2", "--runtime-dir", str(cluster.runtime)]
    return Screen([*command, *options], cluster.directory, cluster.mark)


def test_a_person_watches_and_changes_a_cluster(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", *QUICK, "--no-access-log")
    with top(cluster) as screen:
        screen.wait("serving", "2 of 2 workers", "generation 1", "all 2 workers serve")
        screen.press("r")
        screen.wait("Load the application anew?")
        screen.press("y")
        screen.wait("2 of 2 workers", "generation 2", "reload to generation 2 is done")
        screen.press("+")
        screen.wait("3 of 3 workers")
        screen.press("d")
        screen.wait("threads and tasks", "MainThread")
        screen.press("\x1b")
        os.kill(cluster.pids()[1], signal.SIGKILL)
        screen.wait("REQ/S", "killed by SIGKILL")
        screen.resize(80, 24)
        assert max(map(len, screen.wait("q Quit").splitlines())) <= 80
        screen.press("q")
        assert screen.ends() == 0
        assert RESTORED in screen.written
    assert cluster.get().status == 200


def test_it_shows_who_works_and_what_blocks_whom(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "2", *QUICK, "--no-access-log", "--blocked-after", "0.3")
    with top(cluster) as screen, Load(cluster.port, fresh=2, kept=0, posts=0, think=0.01):
        # Of each worker, and of both.
        screen.until(lambda text: len(re.findall(r" ms [ ▁▂▃▄▅▆▇█]*[▂▃▄▅▆▇█]| µs ", text)) >= 2)
        with ThreadPoolExecutor() as pool:
            blocked = pool.submit(cluster.get, "/block")
            screen.wait("is blocked by", "app.py:12", " blocked ")
            assert blocked.result().status == 200
        screen.until(lambda text: " is blocked by" not in text)


def test_it_outlives_the_cluster_and_finds_the_next_one(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    with top(cluster) as screen:
        screen.wait("1 of 1 workers")
        cluster.stop()
        screen.wait("no cluster answers", "trying again")
        cluster.start_again("-w", "2", *QUICK)
        # What the next one did before it was seen is shown, too.
        screen.wait("2 of 2 workers", "Tercio serves app:app", "worker 1.1 starts")
        screen.until(lambda text: "no cluster answers" not in text)
        screen.press("s\x03")  # Ctrl-C, from wherever one is
        assert screen.ends() == 0


def test_without_a_terminal_it_says_what_to_use_instead(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    done = subprocess.run(
        [sys.executable, "-m", "tercio", "top", "--runtime-dir", str(cluster.runtime)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cluster.directory,
    )  # fmt: skip
    assert done.returncode == 2
    assert "top needs a terminal; `tercio status`" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_textual_it_says_what_to_install(cluster: Cluster) -> None:
    cluster.start("-w", "1", *QUICK)
    # As where it is not installed: nobody finds it.
    (cluster.directory / "textual.py").write_text("raise ModuleNotFoundError(name='textual')")
    command = ["tercio", "top", "--runtime-dir", str(cluster.runtime)]
    with Screen(command, cluster.directory, cluster.mark) as screen:
        screen.wait("top needs textual: pip install 'tercio[tui]'")
        assert screen.ends() == 2
