"""Processes that die, stop, or are many, at one store."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from tercio.engines.embedded.state import EmbeddedState
from tercio.errors import ForkedFromWorker, StateBusy
from tercio.state.state import State
from tercio.state.verbs import Get
from tests.cluster.chaos.tiers import SEED, SLACK, TIER, trials
from tests.state import linear
from tests.state.engines import SIZE, Clock, open_with_clock
from tests.state.processes import start

KILLS = {"quick": 100, "full": 1000, "extreme": 10_000}[TIER]

KINDS = ("lmdb", "sqlite")


@contextmanager
def opened(kind: str, directory: Path) -> Iterator[State]:
    engine = open_with_clock(kind, directory, Clock(time.time()))
    try:
        yield State(engine)
    finally:
        engine.close_now()


@contextmanager
def being_held_up(kind: str, directory: Path) -> Iterator[None]:
    """Have the lock half of the time: calls wait for it, and so for each other."""
    begun, ended = threading.Event(), threading.Event()

    def hold_and_let_go() -> None:
        with opened(kind, directory) as state:
            lock = cast("EmbeddedState", state._engine)._lock
            while not ended.wait(0.001):
                lock.wait(time.monotonic() + 30.0)
                begun.set()
                ended.wait(0.001)
                lock.release()

    thread = threading.Thread(target=hold_and_let_go)
    thread.start()
    begun.wait()  # opening takes longer than all the calls of one process that nobody holds up
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.chaos("C27")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(60 + KILLS)
def test_no_acknowledged_count_is_lost_to_a_kill(kind: str, tmp_path: Path) -> None:
    assert len(trials(f"C27 {kind}", 100, 1000, 10_000)) == KILLS
    process = start("kill", kind, tmp_path, KILLS, 4, SEED)
    told, died = json.loads(process.communicate(timeout=50 + KILLS)[0])
    assert died == KILLS
    with opened(kind, tmp_path) as state:
        stored = state.sync.get("n", 0, type=int)
        # One that was carried out and not told yet, for each process that was killed.
        assert told <= stored <= told + died
        assert stored > 10 * KILLS, "they were killed before they counted: the test shows nothing"
        state.sync.set("n", 0)
        assert sum(1 for _ in state.sync.scan()) > 0
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * SIZE


@pytest.mark.chaos("C28", repeat=True)
@pytest.mark.parametrize("kind", KINDS)
def test_eight_processes_count_exactly(kind: str, tmp_path: Path) -> None:
    crew = [start("count", kind, tmp_path, "n", 500) for _ in range(8)]
    sums = [int(line) for process in crew for line in process.communicate(timeout=100)[0].split()]
    assert [process.returncode for process in crew] == [0] * 8
    assert sorted(sums) == list(range(1, 4001))


@pytest.mark.chaos("C28", repeat=True)
@pytest.mark.parametrize("kind", KINDS)
def test_a_history_of_calls_has_an_order_that_explains_it(kind: str, tmp_path: Path) -> None:
    crew = [start("record", kind, tmp_path, "register", 250) for _ in range(4)]
    for process in crew:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    with being_held_up(kind, tmp_path):
        for process in crew:
            assert process.stdin is not None
            process.stdin.write(b"!")
            process.stdin.flush()
        answers = [process.communicate(timeout=100)[0] for process in crew]
    lines = [line for answer in answers for line in answer.splitlines()]
    history = [linear.Call.parse(line) for line in lines]
    assert len(history) == 1000
    assert sum(linear.overlap(history)) > 50
    assert linear.explains(history)


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stopped_writer_holds_up_no_loop_and_its_death_undoes_its_write(
    kind: str, tmp_path: Path
) -> None:
    engine = open_with_clock(kind, tmp_path, Clock(time.time()))
    state = State(engine)
    await state.set("kept", 1)
    process = start("stop_inside", kind, tmp_path)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"inside\n"
        worst, waiting = 0.0, asyncio.create_task(state.incr("n"))
        loop = asyncio.get_running_loop()
        while not waiting.done():
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            worst = max(worst, loop.time() - due)
            assert await state.get("kept") == 1
        with pytest.raises(StateBusy):
            await waiting
        assert worst < 0.1 * SLACK  # LMDB's own lock would have held the loop until the kill
        assert engine.counters()["busy"] == 1
    finally:
        process.kill()
        process.communicate()
    assert await state.incr("n") == 1
    assert await state.get("half", "nothing") == "nothing"
    await engine.close()


async def test_a_cancelled_write_that_waits_is_not_carried_out(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    state = State(engine)
    assert engine._lock.try_now()
    first, second = (asyncio.create_task(state.incr("n")) for _ in range(2))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.wait({second})
    engine._lock.release()
    assert await first == 1
    assert await state.incr("n") == 2
    await engine.close()


async def test_a_fork_is_told_that_the_state_is_the_parents(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    state = State(engine)
    await state.set("key", 1)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            engine.run_now(Get(b"v::key"))
            os.write(write_end, b"read")
        except ForkedFromWorker:
            os.write(write_end, b"refused")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        assert answer.read() == b"refused"
    assert await state.incr("key") == 2
    await engine.close()
