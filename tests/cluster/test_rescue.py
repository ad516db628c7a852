"""One worker blocks, and the clients of its kept-alive connections do not notice."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

import pytest
from websockets.asyncio.client import connect

from tercio.cluster.attachment import attach
from tercio.dataplane.scoreboard import Field, Scoreboard
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.cluster.stuck import APP, Kept, neighbours, waits_while_blocked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")

BLOCK = 3.0
"""Seconds. What waits for much less has not waited for its end."""

TRIES = 5

LOOPS = ["uvloop", "asyncio"]
T = TypeVar("T")


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def started(cluster: Cluster, *options: str, workers: int = 4) -> Cluster:
    cluster.write_app(APP)
    return cluster.start("-w", str(workers), "--no-access-log", *QUICK, *options)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def total(cluster: Cluster, field: Field) -> int:
    attached = attach(str(cluster.control.parent))
    with closing(attached):
        return Scoreboard.attach(attached.shared["scoreboard"]).total(field)


async def until_blocked(cluster: Cluster, pid: int) -> None:
    """Until that worker is known to be blocked."""
    await until(cluster, pid, Field.SUSPECT)


async def until(cluster: Cluster, pid: int, field: Field) -> None:
    """Until a word of that worker is set."""
    attached = await asyncio.to_thread(attach, str(cluster.control.parent))
    with closing(attached):
        rows = list(Scoreboard.attach(attached.shared["scoreboard"]))
        async with asyncio.timeout(PATIENCE):
            while not any(row[Field.PID] == pid and row[field] for row in rows):
                await asyncio.sleep(0.001)  # words in shared memory tell nobody


@pytest.mark.alone
@pytest.mark.parametrize("how", ["sleep", "spin", "behind"])
def test_kept_connections_do_not_wait_for_a_blocked_worker(
    cluster: Cluster, loop: str, how: str
) -> None:
    started(cluster, "--loop", loop)
    waits = run(waits_while_blocked(cluster.port, f"/{how}/{BLOCK}", seconds=BLOCK + 0.5))
    # Some 8 of 32 are that worker's. Only what was begun in a callback's turn, or came in pieces,
    # would have to wait with it.
    assert max(waits) < BLOCK / 2, waits
    assert total(cluster, Field.RESCUES) >= 1
    assert total(cluster, Field.MOVED_RESCUE) >= 1


def test_without_the_rescue_they_wait(cluster: Cluster) -> None:
    started(cluster, "--rescue", "off")
    waits = run(waits_while_blocked(cluster.port, f"/sleep/{BLOCK}", seconds=BLOCK + 0.5))
    assert len([wait for wait in waits if wait > BLOCK / 2]) >= 5
    assert total(cluster, Field.RESCUES) == 0


def test_the_first_request_after_a_rest_may_block(cluster: Cluster, loop: str) -> None:
    started(cluster, "--loop", loop, workers=2)

    async def main() -> None:
        one, two = await neighbours(cluster.port)
        await asyncio.sleep(0.5)  # the thread that rescues rests by now
        owner = one.pid
        one.send(f"/sleep/{BLOCK}")
        await until_blocked(cluster, owner)
        assert await two.ask() != owner
        assert two.waits[-1] < BLOCK / 2
        assert await one.answer() == owner
        # Both go on where they are.
        assert await two.ask() != owner
        assert await one.ask() == owner
        one.close()
        two.close()

    run(main())


def test_a_request_that_was_read_behind_the_one_that_blocks_is_moved(
    cluster: Cluster, loop: str
) -> None:
    started(cluster, "--loop", loop, "--rescue-after", "0.3", workers=2)

    async def main() -> bool:
        one, two, three = await neighbours(cluster.port, 3)
        owner = one.pid
        one.send("/sleep/0.2")
        await until(cluster, owner, Field.IN_FLIGHT)
        # Both are read in the turn that follows, and then the first one is called.
        two.send(f"/sleep/{BLOCK}")
        three.send("/")
        assert await one.answer() == owner
        home = await three.answer()
        is_read = await two.answer() == owner
        # However it went, it has not waited.
        assert three.waits[-1] < BLOCK / 2
        is_moved = is_read and home != owner
        if is_moved:
            assert await three.ask() != owner
        for each in (one, two, three):
            each.close()
        return is_moved

    # On a slow machine the first block takes so long that they are rescued before they are read:
    # both, or the one that then comes after the other.
    assert any(run(main()) for _ in range(TRIES))
    # A worker may count what it answered in the turn after.
    cluster.until(lambda status: all(worker["in_flight"] == 0 for worker in status["workers"]))


def test_a_request_that_was_begun_stays(cluster: Cluster) -> None:
    started(cluster, workers=2)

    async def main() -> None:
        one, two, three = await neighbours(cluster.port, 3)
        owner = one.pid
        two.writer.write(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
        await until(cluster, owner, Field.IN_FLIGHT)
        one.send(f"/sleep/{BLOCK}")
        await until_blocked(cluster, owner)
        two.writer.write(b"hello")
        three.writer.write(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n")
        three.writer.write(b"expect: 100-continue\r\n\r\n")
        assert await three.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        three.writer.write(b"body")
        assert await three.answer() != owner
        assert await two.answer() == owner
        assert await one.answer() == owner
        for each in (one, two, three):
            each.close()

    run(main())


def test_a_websocket_stays(cluster: Cluster) -> None:
    started(cluster, workers=2)

    async def main() -> None:
        async with connect(f"ws://127.0.0.1:{cluster.port}/") as websocket:
            await websocket.send("who")
            owner = int(await websocket.recv())
            while (kept := await Kept.open(cluster.port)).pid != owner:
                kept.close()
            kept.send(f"/sleep/{BLOCK}")
            await until_blocked(cluster, owner)
            began = time.monotonic()
            await websocket.send("who")
            assert int(await websocket.recv()) == owner
            assert time.monotonic() - began > BLOCK / 2
            assert await kept.answer() == owner
            kept.close()

    run(main())


def test_if_all_block_the_first_that_is_free_answers(cluster: Cluster) -> None:
    started(cluster, workers=2)

    async def main() -> None:
        one, two = await neighbours(cluster.port)
        while (other := await Kept.open(cluster.port)).pid == one.pid:
            other.close()
        one.send(f"/sleep/{2 * BLOCK}")
        other.send(f"/sleep/{BLOCK / 2}")
        free = other.pid
        await until_blocked(cluster, one.pid)
        await until_blocked(cluster, free)
        assert await two.ask() == free
        assert two.waits[-1] < 1.5 * BLOCK
        assert await other.answer() == free
        await one.answer()
        for each in (one, two, other):
            each.close()

    run(main())


def test_a_callback_that_blocks_is_no_step_of_a_task(cluster: Cluster) -> None:
    started(cluster, workers=2)

    async def main() -> None:
        one, two = await neighbours(cluster.port)
        owner = await one.ask(f"/later/{BLOCK}")
        await asyncio.sleep(0.2)
        assert await two.ask() == owner  # it has to wait, and loses nothing
        one.close()
        two.close()

    run(main())
    assert total(cluster, Field.RESCUES) == 0


def test_a_stopped_process_gives_nothing_away(cluster: Cluster) -> None:
    started(cluster, workers=2)

    async def main() -> None:
        one, two = await neighbours(cluster.port)
        owner = one.pid
        for _ in range(20):
            one.send("/")
            two.send("/")
            os.kill(owner, signal.SIGSTOP)
            await asyncio.sleep(0.1)
            os.kill(owner, signal.SIGCONT)
            assert await one.answer() == owner
            assert await two.answer() == owner
        one.close()
        two.close()

    run(main())
    assert total(cluster, Field.RESCUES) == 0


def test_a_reload_during_a_rescue_loses_nothing(cluster: Cluster, loop: str) -> None:
    started(cluster, "--loop", loop, workers=2)

    async def main() -> None:
        kept = await neighbours(cluster.port, 6)
        one, *others = kept
        owner = one.pid
        one.send(f"/sleep/{BLOCK}")
        await until_blocked(cluster, owner)
        reload = asyncio.create_task(asyncio.to_thread(cluster.ask, "reload"))
        for _ in range(10):
            assert owner not in await asyncio.gather(*[each.ask() for each in others])
            await asyncio.sleep(0.05)
        assert await one.answer() == owner
        await reload
        for each in others:
            await each.ask()
        for each in kept:
            each.close()

    run(main())
    assert cluster.of("RequestsCut") == []
