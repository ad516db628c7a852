"""What a subscription does when its messages are not taken, on every engine."""

import asyncio
import gc

import pytest

from tercio.bus.bus import Bus
from tercio.bus.mailbox import Policy
from tercio.errors import SubscriptionLost
from tests.bus.conftest import HOLDS_UP, PATIENCE, Ear, MakeBus, take, until


async def test_drop_oldest_keeps_the_latest_and_counts_the_others(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    full = subscriber.subscribe("a", capacity=10)
    witness = subscriber.subscribe("a")
    for number in range(25):
        publisher.publish("a", number)
    await take(witness, 25)
    assert await take(full, 10) == list(range(15, 25))
    assert (full.delivered, full.dropped, full.gaps) == (10, 15, 0)
    assert subscriber.counters()["dropped"] == 15


async def test_disconnect_gives_what_was_there_and_then_ends(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    fragile = subscriber.subscribe("a", capacity=3, policy="disconnect")
    witness = subscriber.subscribe("a")
    for number in range(5):
        publisher.publish("a", number)
    await take(witness, 5)
    assert await take(fragile, 3) == [0, 1, 2]
    with pytest.raises(SubscriptionLost, match="subscription to a fell behind"):
        await take(fragile, 1)
    publisher.publish("a", 6)
    assert await take(witness, 1) == [6]


async def test_block_holds_up_who_asks_and_loses_nothing(
    make_bus: MakeBus, engine_name: str
) -> None:
    if engine_name not in HOLDS_UP:
        return
    publisher, subscriber = await make_bus(), await make_bus()
    slow = subscriber.subscribe("a", capacity=10, policy="block")
    quick = subscriber.subscribe("b")
    body = bytes(20_000)
    sent = await _send_until_held_up(publisher, body)
    assert sent > 10
    publisher.publish("b", "others go on")
    assert await take(quick, 1) == ["others go on"]

    async def publish_on() -> None:
        for number in range(sent, 300):
            await publisher.send("a", [number, body], timeout=PATIENCE)

    publishing = asyncio.ensure_future(publish_on())
    found = [message[0] for message in await take(slow, 300) if isinstance(message, list)]
    await publishing
    assert found == list(range(300))
    assert (slow.delivered, slow.dropped, slow.gaps) == (300, 0, 0)


async def _send_until_held_up(bus: Bus, body: bytes) -> int:
    """How many messages found room."""
    for number in range(1000):
        try:
            await bus.send("a", [number, body], timeout=0.5)
        except TimeoutError:
            return number
    raise AssertionError("nothing held the publisher up")


async def test_nobody_waits_for_a_block_subscription_that_does_not_want_it(
    make_bus: MakeBus, engine_name: str
) -> None:
    if engine_name not in HOLDS_UP:
        return
    bus = await make_bus()
    held = bus.subscribe("a", own=False, policy="block", capacity=1)
    for number in range(40):
        await bus.send("a", [number, bytes(50_000)], timeout=PATIENCE)
    held.close()


async def test_a_closed_block_subscription_holds_nobody_up(
    make_bus: MakeBus, engine_name: str
) -> None:
    if engine_name not in HOLDS_UP:
        return
    publisher, subscriber = await make_bus(), await make_bus()
    slow = subscriber.subscribe("a", capacity=1, policy="block")
    await _send_until_held_up(publisher, bytes(50_000))
    waiting = asyncio.ensure_future(publisher.send("a", 1, timeout=PATIENCE))
    await asyncio.sleep(0)
    slow.close()
    await waiting


async def test_close_ends_the_iteration_after_what_is_there(make_bus: MakeBus) -> None:
    bus = await make_bus()
    messages, witness = bus.subscribe("a"), bus.subscribe("a")
    bus.publish("a", 1)
    bus.publish("a", 2)
    await take(witness, 2)
    messages.close()
    assert [message async for message in messages] == [1, 2]


async def test_a_waiting_iteration_ends_with_its_subscription(make_bus: MakeBus) -> None:
    bus = await make_bus()
    messages = bus.subscribe("a")
    waiting = asyncio.ensure_future(take(messages, 1))
    await asyncio.sleep(0)
    messages.close()
    with pytest.raises(StopAsyncIteration):
        await _unwrapped(waiting)


async def _unwrapped(waiting: "asyncio.Future[list[object]]") -> None:
    try:
        await waiting
    except RuntimeError as error:  # a coroutine cannot raise StopAsyncIteration itself
        if isinstance(error.__cause__, StopAsyncIteration):
            raise error.__cause__ from None
        raise


@pytest.mark.parametrize("policy", ["drop-oldest", "block"])
async def test_a_subscription_that_nobody_has_any_more_ends(
    make_bus: MakeBus, policy: Policy
) -> None:
    publisher, subscriber = await make_bus(), await make_bus()

    async def serve() -> None:
        async for _ in subscriber.subscribe("a", policy=policy, capacity=2):
            raise ConnectionError("the browser went away")

    for _ in range(3):
        serving = asyncio.create_task(serve())
        await until(lambda: subscriber.counters()["subscriptions"] == 1)
        publisher.publish("a", 1)
        with pytest.raises(ConnectionError):
            await serving
        del serving  # and with it the exception, whose traceback has the frame
        await until(lambda: (gc.collect(), subscriber.counters()["subscriptions"])[1] == 0)
    for _ in range(200):
        await publisher.send("a", bytes(30_000), timeout=PATIENCE)  # nobody holds it up


async def test_who_waits_for_a_message_keeps_the_subscription(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    ear = Ear()

    async def listen() -> None:
        async for message in subscriber.subscribe("a"):
            ear("a", message)

    # As many applications do: nobody holds the task but what it waits for.
    asyncio.get_running_loop().call_soon(asyncio.ensure_future, listen())
    await until(lambda: subscriber.counters()["subscriptions"] == 1)
    gc.collect()
    publisher.publish("a", 1)
    await ear.hear(1)
    assert ear.messages == [1]


async def test_a_cancelled_consumer_takes_no_message_with_it(make_bus: MakeBus) -> None:
    bus = await make_bus()
    messages = bus.subscribe("a")
    witness = bus.subscribe("a")
    first = asyncio.ensure_future(anext(messages))
    second = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0)
    bus.on("a", lambda topic, message: first.cancel())  # right after it was chosen
    bus.publish("a", 1)
    assert await asyncio.wait_for(second, PATIENCE) == 1
    assert first.cancelled()
    assert await take(witness, 1) == [1]


async def test_two_tasks_share_one_subscription(make_bus: MakeBus) -> None:
    bus = await make_bus()
    messages = bus.subscribe("a")
    both = [asyncio.ensure_future(take(messages, 1)) for _ in range(2)]
    await asyncio.sleep(0)
    bus.publish("a", 1)
    bus.publish("a", 2)
    assert sorted([(await task)[0] for task in both], key=str) == [1, 2]


async def test_a_subscription_needs_a_known_policy_and_room(make_bus: MakeBus) -> None:
    bus = await make_bus()
    with pytest.raises(ValueError, match="policy"):
        bus.subscribe("a", policy="drop-newest")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="capacity"):
        bus.subscribe("a", capacity=0)
    with pytest.raises(ValueError, match="pattern"):
        bus.subscribe()


async def test_a_callback_that_takes_itself_away_is_not_called_again(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    heard: list[object] = []

    def once(topic: str, message: object) -> None:
        heard.append(message)
        handle.cancel()

    handle = subscriber.on("a", once)
    async with subscriber.subscribe("a") as messages:
        for number in range(100):
            publisher.publish("a", number)
        assert await take(messages, 100) == list(range(100))
    assert heard == [0]


async def test_a_coroutine_function_is_no_callback(make_bus: MakeBus) -> None:
    async def callback(topic: str, message: object) -> None: ...

    with pytest.raises(TypeError, match="callback is a coroutine function: use"):
        (await make_bus()).on("a", callback)
