"""Which event loop a bus of shared memory belongs to, and what it does without one."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

import pytest

from tercio.bus.bus import Bus
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.bus import EmbeddedBus
from tercio.errors import NoCluster
from tests.bus.conftest import PATIENCE, take


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def rings() -> Iterator[Rings]:
    made = Rings.create(2, 1 << 20)
    yield made
    made.close()


@contextmanager
def thread_with_a_loop(begin: Callable[[], Coroutine[object, object, None]]) -> Iterator[None]:
    """A loop in another thread that has done ``begin`` and goes on."""
    begun, ended = threading.Event(), threading.Event()

    async def run() -> None:
        await begin()
        begun.set()
        await asyncio.to_thread(ended.wait, PATIENCE)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def give_back_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tercio-parcels"]


def held(rings: Rings) -> int:
    """Bytes of memory that large messages take."""
    assert rings.parcels is not None
    return os.fstat(rings.parcels.descriptor).st_blocks * 512


def test_a_thread_with_a_loop_of_its_own_may_publish_before_ours_runs(rings: Rings) -> None:
    bus, other = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))
    found: list[object] = []
    bus.on("a", lambda topic, message: found.append(message))

    async def consume() -> None:
        bus.publish("a", "early")
        await bus.send("a", "early, too")

    async def serve() -> None:
        bus.start()
        messages = bus.subscribe("a")
        other.publish("a", 1)
        assert await take(messages, 1) == [1]

    with thread_with_a_loop(consume):
        asyncio.run(serve())
    assert found == [1]
    bus.close()
    other.close()


def test_who_waits_for_room_in_another_loop_is_woken_and_takes_the_bus_from_nobody(
    rings: Rings,
) -> None:
    bus, other = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))
    is_full, is_sent = threading.Event(), threading.Event()

    async def fill() -> None:
        with suppress(TimeoutError):
            while True:
                await bus.send("a", bytes(30_000), timeout=0.3)
        is_full.set()
        await bus.send("a", b"the last", timeout=PATIENCE)
        is_sent.set()

    async def serve() -> None:
        slow = other.subscribe("a", policy="block", capacity=1, type=bytes)
        filling = threading.Thread(target=asyncio.run, args=(fill(),))
        filling.start()
        await asyncio.to_thread(is_full.wait, PATIENCE)
        messages = bus.subscribe("b")  # in this loop, while the other one waits
        other.publish("b", 1)
        assert await take(messages, 1) == [1]
        while (await take(slow, 1))[0] != b"the last":
            pass
        await asyncio.to_thread(is_sent.wait, PATIENCE)
        filling.join()

    asyncio.run(serve())
    bus.close()
    other.close()


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a sparse file is Linux's to give")
@pytest.mark.parametrize("where", ["no loop", "a loop that has ended"])
def test_large_messages_are_given_back_where_no_loop_runs(rings: Rings, where: str) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    assert rings.parcels is not None
    rings.parcels.hold = 0.5
    before = held(rings)

    async def publish() -> None:
        bus.publish("a", bytes(4 << 20))

    if where == "no loop":
        bus.publish("a", bytes(4 << 20))
    else:
        asyncio.run(publish())
    assert held(rings) >= before + (4 << 20)
    assert len(give_back_threads()) == 1
    while threads := give_back_threads():  # one follows the other while anything is held
        for thread in threads:
            thread.join(PATIENCE)
    assert held(rings) <= before + (64 << 10)
    bus.close()


def test_a_bus_that_is_closed_leaves_no_thread(rings: Rings) -> None:
    bus = Bus(EmbeddedBus(rings, 0))
    bus.publish("a", bytes(1 << 20))
    bus.close()
    for thread in give_back_threads():
        thread.join(PATIENCE)
    assert give_back_threads() == []


def test_a_bus_that_was_closed_touches_its_memory_no_more_and_says_so() -> None:
    rings = Rings.create(2, 1 << 20)
    bus = Bus(EmbeddedBus(rings, 0))
    problems: list[object] = []

    async def close_in_between() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        bus.on("a", lambda topic, message: None)
        bus.publish("a", 1)  # leaves with the next turn
        bus.close()
        rings.close()  # as when an attached process gives a cluster up
        for _ in range(3):
            with pytest.raises(NoCluster, match=r"look `cluster.bus` up anew"):
                bus.publish("a", 2)
            await asyncio.sleep(0)  # a turn for what is left in the loop

    asyncio.run(close_in_between())
    assert problems == []
