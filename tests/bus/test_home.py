"""Which event loop a worker's bus belongs to, whoever is first."""

import asyncio
import threading

import pytest

from tercio.bus.bus import Bus
from tercio.engines.local.bus import LocalBus
from tests.bus.conftest import PATIENCE, take


def test_a_callback_of_another_thread_leaves_the_bus_to_the_workers_loop() -> None:
    bus = Bus(LocalBus(), is_workers=True)
    found: list[tuple[object, bool]] = []
    begun, ended = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        bus.on("a", lambda topic, message: found.append((message, _is_main())))
        begun.set()
        await asyncio.to_thread(ended.wait, PATIENCE)

    async def serve() -> None:
        bus.start()
        messages = bus.subscribe("a")
        bus.publish("a", 1)
        assert await take(messages, 1) == [1]

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    assert begun.wait(PATIENCE)
    asyncio.run(serve())
    ended.set()
    thread.join()
    assert found == [(1, True)]
    bus.close()


def test_a_thread_that_subscribed_first_keeps_no_worker_from_its_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As an application for WSGI does, whose worker never receives itself."""
    bus = Bus(LocalBus(), is_workers=True)
    found: list[tuple[object, bool]] = []
    begun = threading.Event()
    bus.on("a", lambda topic, message: found.append((message, _is_main())))

    async def listen() -> None:
        messages = bus.subscribe("a")
        begun.set()
        assert await take(messages, 1) == [1]

    async def serve() -> None:
        bus.start()
        with pytest.raises(RuntimeError, match="another event loop"):
            bus.subscribe("a")
        bus.publish("a", 1)
        await asyncio.to_thread(thread.join)

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert begun.wait(PATIENCE)
    asyncio.run(serve())
    assert found == [(1, False)]
    assert "messages are received in an event loop of another thread" in caplog.text
    bus.close()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
