"""The reader of the log stops while workers write 10 MB a second: nobody waits, all is counted."""

import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.chaos import polite
from tests.cluster.chaos.tiers import TIER
from tests.cluster.harness import PATIENCE, Cluster

RATE: Final = 10_000_000
LINE: Final = 4000
SECONDS: Final = {"quick": 3.0, "full": 60.0, "extreme": 300.0}[TIER]
"""For which the reader is stopped."""
READING: Final = min(SECONDS, 10.0)

ROOT: Final = Path(__file__).parents[3]

APP: Final = f"""
import asyncio, logging

log = logging.getLogger("shop")
written = 0

async def write():
    global written
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        due = int((loop.time() - begun) * {RATE} / {LINE})
        # A turn of the loop is no longer than it would be without anybody who catches up.
        for _ in range(min(due - written, 100)):
            written += 1
            log.warning("%s %d", "x" * {LINE - 40}, written)
        await asyncio.sleep(0.005)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["path"] == "/begin":
        app.task = asyncio.create_task(write())
    if scope["path"] == "/end":
        app.task.cancel()
    if scope["path"] == "/mark":
        app.marks = getattr(app, "marks", 0) + 1
        log.warning("END %d", app.marks)
    body = str(written).encode()
    await send({{"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]}})
    await send({{"type": "http.response.body", "body": body}})
"""


def latencies(port: int, seconds: float) -> list[float]:
    """What a polite client of a process of its own met, sorted."""
    client = subprocess.Popen(
        [sys.executable, "-m", polite.__name__, str(port), "http"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        client.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    out, _ = client.communicate(timeout=PATIENCE)  # the end of its input ends it
    assert client.returncode == 0
    return sorted(json.loads(out))


def at(share: float, took: list[float]) -> float:
    return took[int(share * (len(took) - 1))]


@pytest.mark.alone
@pytest.mark.chaos("C33")
def test_a_reader_that_stops_delays_nobody_and_each_lost_line_is_counted(cluster: Cluster) -> None:
    cluster.write_app(APP)
    cluster.start("-w", "1", "--no-access-log")
    assert cluster.process is not None
    assert cluster.process.stdout is not None
    fcntl.fcntl(cluster.process.stdout, fcntl.F_SETPIPE_SZ, 65536)
    cluster.get("/begin")
    before = latencies(cluster.port, READING)
    cluster.reading.clear()
    from_here = int(cluster.get("/count").text)
    during = latencies(cluster.port, SECONDS)
    written = int(cluster.get("/count").text) - from_here
    cluster.reading.set()
    total = int(cluster.get("/end").text)
    marks = 0

    def found() -> set[str]:
        return {line for line in list(cluster.lines) if "xxx" in line or "END " in line}

    def told() -> int:
        notices = [re.fullmatch(r"(\d+) log lines? dropped", line) for line in list(cluster.lines)]
        return sum(int(notice[1]) for notice in notices if notice)

    def is_drained(_: object) -> bool:
        """A line comes through again; what was marked before may have been dropped as well."""
        nonlocal marks
        marks += 1
        cluster.get("/mark")
        return any("END " in line for line in list(cluster.lines))

    cluster.until(is_drained)
    cluster.until(lambda _: len(found()) + told() == total + marks)
    dropped = told()
    print(
        f"{written * LINE / SECONDS / 1e6:.1f} MB/s; read: p50 {at(0.5, before) * 1e3:.2f} ms, "
        f"p99 {at(0.99, before) * 1e3:.2f} ms; stopped {SECONDS:g} s: p50 "
        f"{at(0.5, during) * 1e3:.2f} ms, p99 {at(0.99, during) * 1e3:.2f} ms, worst "
        f"{during[-1] * 1e3:.1f} ms; {total} lines, {dropped} dropped"
    )
    assert dropped > 0
    cluster.until(lambda status: status["workers"][0]["log_dropped"] == dropped)
    assert f"tercio_log_lines_dropped_total {dropped}" in cluster.tercio("metrics").stdout
    # Who waited for the reader would have waited until the end. The rest is the machine's.
    assert during[-1] < SECONDS / 2
    assert at(0.99, during) < 2 * at(0.99, before) + 0.05
    assert cluster.stop() == 0
