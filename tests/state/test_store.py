"""A store that is full, swept, persistent, or watched."""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded.caretaker import SWEEP
from tercio.engines.embedded.state import EmbeddedState, open_state
from tercio.engines.embedded.writelock import WriteLock
from tercio.errors import StateBusy, StateFull, StateUnavailable
from tercio.state.state import State
from tercio.state.verbs import Acquire, Incr, Sweep
from tests.state.engines import Clock, open_with_clock, place
from tests.state.test_full_disk import small_tmpfs

KINDS = ("lmdb", "sqlite")
MIB = 1 << 20


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_store_says_so_reads_on_and_recovers(kind: str, tmp_path: Path) -> None:
    engine = open_with_clock(kind, tmp_path, Clock(), size=MIB)
    state = State(engine)
    await state.set("first", 1)
    stored = await filled(state)
    assert 500 < stored < 2000
    assert await state.get("first") == 1
    with pytest.raises(StateFull):
        await state.set("one more", "x" * 1000)
    assert await state.delete("fill:0") == 1
    assert await state.clear("fill:") == stored - 1
    assert engine.counters()["full"] >= 2
    assert await state.set("one more", "x" * 1000)
    for number in range(stored // 2):
        await state.set(f"again:{number}", os.urandom(1000))
    assert await state.get("first") == 1
    await engine.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_store_of_queues_can_be_emptied(kind: str, tmp_path: Path) -> None:
    engine = open_with_clock(kind, tmp_path, Clock(), size=MIB)
    state = State(engine)
    queue = state.queue("jobs", type=bytes)
    with contextlib.suppress(StateFull):
        while True:
            await queue.put(os.urandom(1000))
    assert await queue.size() > 500
    assert len(await queue.get()) == 1000
    assert await state.remove_queue("jobs")
    while await engine.run(Sweep(SWEEP)) == SWEEP:
        pass
    await queue.put(b"new")
    assert await queue.get() == b"new"
    await engine.close()


async def filled(state: State) -> int:
    """Store a kilobyte after the other until there is no room; the answer is how many."""
    stored = 0
    with contextlib.suppress(StateFull):
        while stored < 100_000:
            await state.set(f"fill:{stored}", os.urandom(1000))
            stored += 1
    assert stored < 100_000, "it was never full"
    return stored


@pytest.mark.chaos("C29", repeat=True)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_file_system_is_an_error_and_no_sigbus(kind: str, tmp_path: Path) -> None:
    with small_tmpfs(tmp_path, "2m"):
        # It may hold more than there is: what is free can shrink after the start.
        engine = open_with_clock(kind, tmp_path, Clock(), size=64 * MIB)
        state = State(engine)
        await state.set("first", 1)
        assert await filled(state) > 50
        assert await state.get("first") == 1
        with contextlib.suppress(StateFull):  # there may be no page left even for that
            await state.clear("fill:")
            assert await state.set("second", 2)
        assert await state.get("first") == 1
        await engine.close()


async def test_the_sweep_takes_what_ended_in_small_bites(tmp_path: Path) -> None:
    clock = Clock()
    engine = open_with_clock("lmdb", tmp_path, clock)
    state = State(engine)
    await state.set("stays", 1)
    for number in range(450):
        await state.set(f"goes:{number}", number, ttl=10.0)
    assert await engine.run(Sweep(SWEEP)) == 0
    await clock.pass_time(11.0)
    assert [await engine.run(Sweep(SWEEP)) for _ in range(4)] == [200, 200, 50, 0]
    assert engine.fill().keys == 1
    await engine.close()


async def test_one_process_of_all_sweeps_and_another_takes_over(tmp_path: Path) -> None:
    first = open_state(place("lmdb", tmp_path))
    await until(lambda: first.words[Field.STATE_USED] > 0)
    state = State(first)
    for number in range(500):
        await state.set(f"goes:{number}", number, ttl=0.1)
    await until(lambda: first.fill().keys < 10)
    await first.close()
    second = open_state(place("lmdb", tmp_path))
    await until(lambda: second.words[Field.STATE_USED] > 0, limit=4.0)  # the first let go
    await second.close()


async def test_a_store_that_fills_up_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_state(place("lmdb", tmp_path, size=2 * MIB))
    state = State(engine)
    with caplog.at_level(logging.WARNING, logger="tercio.state"):
        for number in range(1000):
            await state.set(f"fill:{number}", os.urandom(1000))
        await until(lambda: any("--state-size" in text for text in caplog.messages))
        turns = engine.words[Field.STATE_WRITES]
        await until(lambda: engine.words[Field.STATE_WRITES] > turns + 4)
    assert sum("--state-size" in text for text in caplog.messages) == 1
    await engine.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sync", ["none", "interval", "always"])
async def test_what_was_stored_is_there_after_a_restart(
    kind: str, sync: str, tmp_path: Path
) -> None:
    first = open_state(place(kind, tmp_path, sync=sync))
    await State(first).set("plain", 1)
    await State(first).set("ends", 2, ttl=60.0)
    async with State(first).lock("door") as lock:
        token = lock.token
    await first.close()
    second = open_state(place(kind, tmp_path, sync=sync))
    state = State(second)
    assert await state.mget("plain", "ends") == [1, 2]
    assert 0.0 < (await state.ttl("ends") or 0.0) <= 60.0
    async with state.lock("door") as lock:
        assert lock.token > token
    await second.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_who_waits_for_a_lock_takes_no_turn_at_writing(kind: str, tmp_path: Path) -> None:
    clock = Clock()
    engine = open_with_clock(kind, tmp_path, clock)
    theirs, ours = Acquire(b"l::door", b"ann", 5.0), Acquire(b"l::door", b"bob", 5.0)
    token = await engine.run(theirs)
    assert token is not None
    assert engine._lock.try_now()  # somebody writes, for longer than anybody's patience
    assert await engine.run(ours) is None
    assert engine.run_now(ours) is None
    engine._lock.release()
    written = engine.words[Field.STATE_WRITES]
    assert await engine.run(ours) is None
    assert engine.words[Field.STATE_WRITES] == written
    assert await engine.run(theirs) == token
    clock.now += 6.0
    later = engine.run_now(ours)
    assert later is not None
    assert later > token
    await engine.close()


async def test_a_thread_that_waits_goes_before_its_own_loop(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    lock = engine._lock
    assert lock.try_now()
    taken, let_go = threading.Event(), threading.Event()

    def wait() -> None:
        lock.wait(time.monotonic() + 30.0)
        taken.set()
        let_go.wait(30.0)
        lock.release()

    thread = threading.Thread(target=wait)
    thread.start()
    await until(lambda: engine.words[Field.STATE_WAITING] > 0)
    lock.release()
    while not taken.is_set():
        assert not lock.try_now()
    assert engine.words[Field.STATE_WAITING] == 0
    assert engine.words[Field.STATE_HOLDING] > 0
    let_go.set()
    thread.join()
    assert engine.words[Field.STATE_HOLDING] == 0
    await engine.close()


async def test_a_thread_that_waits_goes_before_those_that_come_later(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    lock = engine._lock
    order: list[str] = []

    def write(name: str) -> None:
        lock.wait(time.monotonic() + 30.0)
        order.append(name)
        lock.release()

    lock.wait(time.monotonic() + 30.0)
    first = threading.Thread(target=write, args=("first",))
    first.start()
    await until(lock._is_awaited)
    # As one that writes without a pause: it comes again before the other one has woken up.
    lock.release()
    write("again")
    first.join()
    assert order == ["first", "again"]
    await engine.close()


async def test_who_waits_while_the_state_is_closed_is_told_so(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    failures: list[BaseException] = []

    def write() -> None:
        try:
            engine._lock.wait(time.monotonic() + 30.0)
            engine._lock.release()
        except StateUnavailable as error:
            failures.append(error)

    assert engine._lock.try_now()
    thread = threading.Thread(target=write)
    thread.start()
    await until(lambda: engine.words[Field.STATE_WAITING] > 0)
    closing = threading.Thread(target=engine.close_now)
    closing.start()
    engine._lock.release()
    closing.join()
    thread.join()
    # It was faster than the end, or it was told.
    assert not failures or "closed" in str(failures[0])
    with pytest.raises(StateUnavailable, match="closed"):
        engine._lock.wait(time.monotonic() + 30.0)


def test_threads_that_write_without_a_pause_starve_none(tmp_path: Path) -> None:
    engine = open_with_clock("lmdb", tmp_path, Clock())
    has_ended = threading.Event()

    def write_on() -> None:
        while not has_ended.is_set():
            engine.run_now(Incr(b"v::n"))

    greedy = [threading.Thread(target=write_on) for _ in range(2)]
    for thread in greedy:
        thread.start()
    try:
        for _ in range(100):
            engine.run_now(Incr(b"v::ours"))  # StateBusy after a second
    finally:
        has_ended.set()
        for thread in greedy:
            thread.join()
    engine.close_now()


@pytest.mark.skipif(sys.platform != "linux", reason="another owner is a process, by fork")
def test_a_lock_that_is_never_free_is_given_up_by_its_deadline(tmp_path: Path) -> None:
    words = [0] * 128
    ours = WriteLock(str(tmp_path), words)
    ready, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        WriteLock(str(tmp_path), words).wait(time.monotonic() + 30.0)
        os.write(theirs, b"!")
        threading.Event().wait()
    assert os.read(ready, 1) == b"!"
    began = time.monotonic()
    with pytest.raises(StateBusy):
        ours.wait(time.monotonic() + 0.2)
    assert time.monotonic() - began >= 0.2
    os.kill(pid, 9)  # the kernel lets go of it
    ours.wait(time.monotonic() + 30.0)
    os.waitpid(pid, 0)
    ours.release()
    ours.close()
    for descriptor in (ready, theirs):
        os.close(descriptor)


async def until(is_true: Callable[[], bool], limit: float = 60.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + limit
    while not is_true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_large_value_is_written_by_a_thread(tmp_path: Path) -> None:
    async def write() -> dict[str, int]:
        engine: EmbeddedState = open_with_clock("lmdb", tmp_path, Clock(), size=64 * MIB)
        await State(engine).set("large", bytes(MIB))
        await State(engine).set("small", bytes(1000))
        counters = engine.counters()
        await engine.close()
        return counters

    assert asyncio.run(write())["waits"] == 1
