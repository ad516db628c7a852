"""The log: whole lines, in uvicorn's form, and never a reason to wait."""

import fcntl
import http.client
import re
import threading
from pathlib import Path

from tests.cluster.harness import DEFAULT_APP, PATIENCE, Cluster

SMALL_PIPE = 4096
O_NONBLOCK = 0o4000

ACCESS = re.compile(r'INFO:     127\.0\.0\.1:\d+ - "GET /\S* HTTP/1\.1" 200 OK')
APP_LINE = re.compile(r"WARNING:  \[\d\.\d\] x{300} \d+ x{300}")

LOG = """logging.getLogger("shop").warning("%s %d %s", "x" * 300, os.getpid(), "x" * 300)"""

LOGGING_APP = "import logging\n" + DEFAULT_APP.replace('body = f"', f'{LOG}\n    body = f"')


def ask(cluster: Cluster, count: int, path: str = "/") -> None:
    """Requests on one kept-alive connection, each answered well."""
    client = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=PATIENCE)
    try:
        for number in range(count):
            client.request("GET", f"{path}{number}")
            response = client.getresponse()
            response.read()
            assert response.status == 200
    finally:
        client.close()


def flags_of(pid: int, descriptor: int) -> int:
    """The status flags of a process' open file description."""
    text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
    match = re.search(r"^flags:\s+(\d+)", text, re.MULTILINE)
    assert match is not None
    return int(match[1], 8)


def test_the_access_log_is_uvicorns(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    ask(cluster, 3, "/items?page=")
    line = cluster.wait_line("page=2")
    assert ACCESS.fullmatch(line)


def test_a_log_that_nobody_reads_holds_no_request(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    assert cluster.process is not None
    assert cluster.process.stdout is not None
    fcntl.fcntl(cluster.process.stdout, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    cluster.reading.clear()
    # The pipe, the reader's buffer and a thousand lines in the worker: then lines are lost.
    ask(cluster, 2000)
    status = cluster.until(lambda status: status["workers"][0]["log_dropped"] > 0)
    assert status["workers"][0]["requests"] == 2000
    assert status["log_dropped"] == 0
    assert "slot 0: " in (told := cluster.tercio("status").stdout)
    assert "log lines dropped, nobody read them in time" in told
    for pid in (cluster.pid, *cluster.pids().values()):
        for descriptor in (1, 2):
            assert not flags_of(pid, descriptor) & O_NONBLOCK
    cluster.reading.set()
    notice = cluster.wait_line("log lines dropped")
    assert re.fullmatch(r"\d+ log lines dropped", notice)
    ask(cluster, 1, "/afterwards")
    cluster.wait_line("/afterwards")
    assert cluster.stop() == 0


def test_a_stuck_log_does_not_hold_a_stop(cluster: Cluster) -> None:
    cluster.start("-w", "2")
    assert cluster.process is not None
    assert cluster.process.stdout is not None
    fcntl.fcntl(cluster.process.stdout, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    cluster.reading.clear()
    ask(cluster, 500)
    cluster.signal(15)
    assert cluster.process.wait(PATIENCE) == 0
    cluster.reading.set()


def busy(cluster: Cluster) -> list[int]:
    """Slots whose worker has answered something."""
    return [each["slot"] for each in cluster.status()["workers"] if each["requests"]]


def test_lines_of_four_workers_are_whole(cluster: Cluster) -> None:
    cluster.write_app(LOGGING_APP)
    cluster.start("-w", "4")
    asked = 0
    # The kernel chooses who accepts: one worker may take all clients of a round.
    while asked == 0 or (len(busy(cluster)) < 2 and asked < 16_000):
        clients = [threading.Thread(target=ask, args=(cluster, 100)) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        asked += 800
    assert cluster.stop() == 0
    ours = [line for line in cluster.lines if "127.0.0.1:" in line and " - " in line]
    theirs = [line for line in cluster.lines if "xxx" in line]
    assert len(ours) == len(theirs) == asked
    assert not [line for line in ours if not ACCESS.fullmatch(line)]
    assert not [line for line in theirs if not APP_LINE.fullmatch(line)]
    # One worker alone would prove nothing.
    assert len({line.split()[3] for line in theirs}) > 1


def test_the_start_says_what_one_needs_to_know(cluster: Cluster) -> None:
    cluster.start("-w", "2")
    banner = cluster.lines[:8]
    assert banner[0] == "INFO:     Tercio serves app:app"
    said = "\n".join(banner)
    for words in (
        f"http://127.0.0.1:{cluster.port}", "2 (as asked)", "tercio", f"pid {cluster.pid}",
        str(cluster.control.parent), "tercio status", "tercio reload", "tercio stop",
    ):  # fmt: skip
        assert words in said
    assert "\x1b" not in said
    started = cluster.first("ClusterStarted")
    assert started["app"] == "app:app"
    assert "\n" not in started["text"]


def test_on_a_terminal_the_start_has_colours_and_the_same_words(cluster: Cluster) -> None:
    cluster.start("-w", "1", "--use-colors", wait="")
    cluster.follow()
    cluster.wait("ClusterReady")
    assert cluster.lines[0] == "\x1b[32mINFO\x1b[0m:     Tercio serves \x1b[1mapp:app\x1b[0m"
    assert f"\x1b[36mhttp://127.0.0.1:{cluster.port}\x1b[0m" in cluster.lines[1]


def test_what_the_primary_could_not_log_is_counted_too(cluster: Cluster) -> None:
    cluster.start("-w", "1")
    assert cluster.process is not None
    assert cluster.process.stdout is not None
    fcntl.fcntl(cluster.process.stdout, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
    cluster.reading.clear()
    (cluster.directory / "tercio.toml").write_text("workers = 'many'\n")
    for _ in range(1300):  # each is refused, and is one line of the log
        assert "error" in list(cluster.converse("reload", wait=False))[-1]
    assert cluster.status()["log_dropped"] > 0
    assert "primary: " in cluster.tercio("status").stdout
    cluster.reading.set()
    cluster.wait_line("log lines dropped")
