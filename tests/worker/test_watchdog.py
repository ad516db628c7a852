"""A blocked loop is noticed, named, and asked what it does."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.system.stacksignal import STACK_SIGNAL
from tests.worker.rig import Rig, until

pytestmark = pytest.mark.timeout(30)


def line_of(text: str) -> int:
    with open(os.path.join(os.path.dirname(__file__), "apps.py")) as file:
        return next(n for n, line in enumerate(file, 1) if text in line)


@pytest.mark.alone
def test_the_line_that_blocks_is_named(loop: str) -> None:
    options = {"loop": loop, "blocked_after": 0.6}
    with Rig(options=options) as rig, rig.serving().connect() as client:
        client.ask("/block?seconds=1.2")
        began = time.monotonic()
        blocked = rig.wait_for("blocked")
        assert time.monotonic() - began < 1.0
        number = line_of('time.sleep(float(query["seconds"]))')
        assert f"tests/worker/apps.py:{number} in page" == blocked["culprit"]
        assert 0.3 <= blocked["seconds"] < 1.0
        assert "await page(scope, receive, send)" in blocked["stack"]
        unblocked = rig.wait_for("unblocked")
        assert 1.1 <= unblocked["seconds"] < 2
        assert client.answer()[0] == 200
        assert rig.row[Field.BLOCKED] == 1
        assert rig.row[Field.BLOCKED_US] == pytest.approx(unblocked["seconds"] * 1e6, abs=2000)
        assert not rig.said("blocked")


def test_a_working_directory_that_is_gone_stops_no_beat(loop: str) -> None:
    with Rig(options={"loop": loop, "blocked_after": 0.5}) as rig:
        assert rig.serving().get("/block-nowhere")[0] == 200
        assert "page.html:1 in <module>" in rig.wait_for("blocked")["culprit"]
        for field in (Field.THREAD_BEAT, Field.LOOP_BEAT):
            for _ in range(2):
                last = rig.row[field]
                until(lambda field=field, last=last: rig.row[field] != last)  # type: ignore[misc]


def test_a_report_that_cannot_be_made_stops_no_beat(loop: str) -> None:
    options = {"loop": loop, "blocked_after": 0.5, "log_level": "critical"}
    with Rig("unreportable:app", options=options) as rig:
        assert rig.serving().get("/block?seconds=1")[0] == 200
        for field in (Field.THREAD_BEAT, Field.LOOP_BEAT):
            for _ in range(2):
                last = rig.row[field]
                until(lambda field=field, last=last: rig.row[field] != last)  # type: ignore[misc]


def test_beats_go_on(loop: str) -> None:
    with Rig(options={"loop": loop, "blocked_after": 0.5}) as rig:
        rig.serving()
        for field in (Field.THREAD_BEAT, Field.LOOP_BEAT):
            for _ in range(2):
                last = rig.row[field]
                until(lambda field=field, last=last: rig.row[field] != last)  # type: ignore[misc]
        assert not rig.said("blocked")


AT_REST = """
import asyncio
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.worker.watchdog import Watchdog

row = Scoreboard.create(1).row(0)
watchdog = Watchdog(row, 0.5, print, lambda: 0)


def turn():
    return round((row[Field.WATCH_DUE] - row[Field.THREAD_BEAT]) / 1e9, 2)


async def until(claim):
    while not claim():
        await asyncio.sleep(0.02)


async def hurried():
    await until(lambda: turn() == 0.5)
    beat, due = row[Field.THREAD_BEAT], row[Field.WATCH_DUE]
    watchdog.hurry()
    await until(lambda: row[Field.THREAD_BEAT] != beat)
    return row[Field.THREAD_BEAT] < due


async def main():
    watchdog.start()
    watchdog.watch(asyncio.get_running_loop())
    assert turn() == 0.25
    watchdog.is_helped = True
    while not await hurried():  # a busy machine may be late once
        pass
    row[Field.CONNECTIONS] = 1
    await until(lambda: turn() == 0.25)


asyncio.run(main())
"""


def test_who_serves_nobody_looks_half_as_often_and_at_once_when_somebody_waits() -> None:
    subprocess.run([sys.executable, "-c", AT_REST], check=True, timeout=25)


def test_who_is_debugged_is_not_judged() -> None:
    with Rig(options={"blocked_after": 0.5}) as rig, rig.connect() as client:
        rig.serving()
        client.ask("/debugged?seconds=1")
        assert client.answer()[0] == 200
        rig.settle()
        assert not rig.said("blocked")


def test_a_stopped_process_blames_nobody() -> None:
    with Rig(options={"blocked_after": 0.5}) as rig:
        rig.serving()
        until(lambda: rig.row[Field.LOOP_BEAT] != 0)
        rig.process.send_signal(signal.SIGSTOP)
        last = rig.row[Field.THREAD_BEAT]
        until(lambda: time.monotonic_ns() - last > 1.5e9)
        rig.process.send_signal(signal.SIGCONT)
        for _ in range(3):
            last = rig.row[Field.THREAD_BEAT]
            until(lambda: rig.row[Field.THREAD_BEAT] != last)  # noqa: B023
        rig.settle()
        assert not rig.said("blocked")


def test_a_dump_shows_threads_and_tasks(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, rig.serving().connect() as client:
        client.ask("/slow?seconds=20")
        rig.count(Field.IN_FLIGHT, 1)
        rig.send(type="dump", id=41)
        dump = rig.wait_for("dump")
        assert dump["id"] == 41
        text = dump["text"]
        assert text.startswith(f"Worker 3.7 (pid {rig.process.pid}, generation 2, ")
        assert "Thread MainThread" in text
        assert "Thread tercio-watchdog" in text
        tasks = text.partition("\nTasks\n")[2]
        assert "Request._run" in tasks or "RequestResponseCycle.run_asgi" in tasks  # by server
        assert 'await asyncio.sleep(float(query["seconds"]))' in tasks


def test_a_blocked_worker_can_be_dumped(loop: str) -> None:
    options = {"loop": loop, "blocked_after": 0.5}
    with Rig(options=options) as rig, rig.serving().connect() as client:
        client.ask("/block?seconds=1.8")
        rig.wait_for("blocked")
        rig.send(type="dump", id=42)
        text = rig.wait_for("dump", 2.5)["text"]
        assert 'time.sleep(float(query["seconds"]))' in text
        assert "the event loop does not answer" in text


def test_a_signal_gets_the_stacks_without_the_interpreter(loop: str) -> None:
    with Rig(options={"loop": loop}) as rig, rig.serving().connect() as client:
        client.ask("/hold-the-lock")
        assert rig.tells() == "holding\n"
        rig.process.send_signal(STACK_SIGNAL)
        until(lambda: b"in page" in os.pread(rig.stack, 65536, 0))
        assert b"apps.py" in os.pread(rig.stack, 65536, 0)
