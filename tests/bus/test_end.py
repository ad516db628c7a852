"""What is told to those who listen when the cluster has ended, on every engine."""

import asyncio
import threading

import pytest

from tercio.bus.bus import Bus
from tercio.bus.mailbox import Policy
from tercio.engines.local.bus import LocalBus
from tercio.errors import NoCluster, SubscriptionLost
from tests.bus.conftest import PATIENCE, MakeBus, take


@pytest.mark.parametrize("policy", ["drop-oldest", "block"])
async def test_who_iterates_gets_what_is_there_and_then_the_reason(
    make_bus: MakeBus, policy: Policy
) -> None:
    bus = await make_bus()
    messages = bus.subscribe("a", policy=policy)
    idle = bus.subscribe("a")
    bus.publish("a", 1)
    bus.publish("a", 2)
    assert await take(idle, 2) == [1, 2]
    assert await take(messages, 1) == [1]
    waiting = asyncio.ensure_future(take(idle, 1))
    await asyncio.sleep(0)  # until it waits
    thread = threading.Thread(target=bus.fail, args=("the cluster has ended",))
    thread.start()
    with pytest.raises(SubscriptionLost, match=r"subscription to a was ended: the cluster has"):
        await waiting
    assert await take(messages, 1) == [2]
    with pytest.raises(SubscriptionLost, match="the cluster has ended"):
        await take(messages, 1)
    thread.join()
    with pytest.raises(NoCluster, match=r"the cluster has ended: look `cluster.bus` up anew"):
        bus.subscribe("a")


async def test_requests_that_wait_end_and_the_log_names_callbacks(
    make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await make_bus()
    is_asked = asyncio.Event()

    async def never(topic: str, message: object) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    heard = bus.on("prices.*", lambda topic, message: None)
    bus.reply("answers", never)
    bus.subscribe("a")
    asking = asyncio.ensure_future(bus.request("answers", 1, PATIENCE))
    await asyncio.wait_for(is_asked.wait(), PATIENCE)
    bus.fail("the cluster has ended")
    bus.fail("the cluster has ended")
    with pytest.raises(NoCluster, match="the cluster has ended"):
        await asking
    assert caplog.text.count("callbacks for answers, prices.* are called no more") == 1
    heard.cancel()  # does nothing any more


async def test_a_bus_that_was_closed_says_nothing_of_an_end(
    make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await make_bus()
    bus.on("a", lambda topic, message: None)
    messages = bus.subscribe("a")
    bus.close()
    bus.fail("the cluster has ended")
    assert [message async for message in messages] == []
    assert "the cluster has ended" not in caplog.text


def test_a_bus_without_a_loop_ends_at_once() -> None:
    bus = Bus(LocalBus())
    bus.fail("the cluster has ended")
    with pytest.raises(NoCluster):
        bus.on("a", lambda topic, message: None)
