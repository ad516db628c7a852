"""Publishing and subscribing, on every engine."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from tercio.errors import MessageTooLarge, Unencodable
from tests.bus.conftest import PATIENCE, Ear, MakeBus, take


async def test_a_message_reaches_every_process_and_its_publisher(make_bus: MakeBus) -> None:
    first, second, third = await make_bus(), await make_bus(), await make_bus()
    subscriptions = [bus.subscribe("chat.room") for bus in (first, second, third)]
    first.publish("chat.room", {"text": "hi", "n": [1, 2.5, None, b"x"]})
    for subscription in subscriptions:
        assert await take(subscription, 1) == [{"text": "hi", "n": [1, 2.5, None, b"x"]}]
        assert subscription.topic == "chat.room"
        assert (subscription.delivered, subscription.dropped, subscription.gaps) == (1, 0, 0)


async def test_own_messages_are_left_out_where_the_publisher_or_the_subscriber_says_so(
    make_bus: MakeBus,
) -> None:
    bus, other = await make_bus(), await make_bus()
    everything = bus.subscribe("a")
    of_others = bus.subscribe("a", own=False)
    elsewhere = other.subscribe("a")
    bus.publish("a", 1, own=False)
    bus.publish("a", 2)
    assert await take(elsewhere, 2) == [1, 2]
    assert await take(everything, 1) == [2]
    other.publish("a", 3)
    assert await take(everything, 1) == [3]
    assert await take(of_others, 1) == [3]
    assert of_others.delivered == 1


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", "b.a"]),
        ("a.*", ["a.b", "a.c"], ["a", "a.b.c", "b.a"]),
        ("*.b", ["a.b", "c.b"], ["b", "a.b.b", "a.c"]),
        ("a.*.c", ["a.b.c"], ["a.c", "a.b.b.c", "a.b.d"]),
        ("a.**", ["a.b", "a.b.c", "a.b.c.d"], ["a", "b.a"]),
        ("**", ["a", "a.b", "ü.b.c"], []),
        ("*", ["a", "b"], ["a.b"]),
    ],
)
async def test_patterns(
    make_bus: MakeBus, pattern: str, matching: list[str], others: list[str]
) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    found = subscriber.subscribe(pattern)
    for topic in (*others, *matching):
        publisher.publish(topic, topic)
    assert await take(found, len(matching)) == matching
    publisher.publish(matching[0], "last")
    assert await take(found, 1) == ["last"]


async def test_a_subscription_to_several_patterns_gets_each_message_once(make_bus: MakeBus) -> None:
    bus = await make_bus()
    async with bus.subscribe("a.*", "*.b", "c") as messages:
        for topic in ("a.b", "x", "c"):
            bus.publish(topic, topic)
        async with asyncio.timeout(PATIENCE):
            found = messages.items()
            assert [await anext(found) for _ in range(2)] == [("a.b", "a.b"), ("c", "c")]


@pytest.mark.parametrize("topic", ["", ".", "a.", ".a", "a..b", "a.*", "**", "a\nb", "x" * 256])
async def test_what_is_no_topic_is_refused(make_bus: MakeBus, topic: str) -> None:
    bus = await make_bus()
    with pytest.raises(ValueError, match="topic"):
        bus.publish(topic, 1)


@pytest.mark.parametrize("pattern", ["", ".a", "a.b*", "**.a", "a.***", "a..b"])
async def test_what_is_no_pattern_is_refused(make_bus: MakeBus, pattern: str) -> None:
    bus = await make_bus()
    with pytest.raises(ValueError, match=r"pattern|topic"):
        bus.subscribe(pattern)


async def test_what_was_published_before_is_not_received(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    witness = subscriber.subscribe("a")
    publisher.publish("a", "before")
    assert await take(witness, 1) == ["before"]
    late = subscriber.subscribe("a")
    publisher.publish("a", "after")
    assert await take(late, 1) == ["after"]


async def test_messages_of_one_publisher_keep_their_order(make_bus: MakeBus) -> None:
    publishers = [await make_bus(), await make_bus()]
    subscriber = await make_bus()
    messages = subscriber.subscribe("*", capacity=10_000, type=tuple[int, int])
    for turn in range(40):
        for number, bus in enumerate(publishers):
            for step in range(25):
                bus.publish("ab"[step % 2], (number, turn * 25 + step))
        await asyncio.sleep(0)
    found = await take(messages, 2000)
    for number in (0, 1):
        assert [n for who, n in found if who == number] == list(range(1000))


async def test_any_thread_may_publish(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    messages = subscriber.subscribe("t.*", capacity=10_000, type=int)
    own = publisher.subscribe("t.*", capacity=10_000)

    def work(number: int) -> None:
        for step in range(300):
            publisher.publish(f"t.{number}", step)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    found: dict[str, list[int]] = {}
    for _ in range(1200):
        (step,) = await take(messages, 1)
        found.setdefault(messages.topic, []).append(step)
    assert found == {f"t.{n}": list(range(300)) for n in range(4)}
    await take(own, 1200)
    for thread in threads:
        thread.join()


async def test_one_loop_receives_and_others_are_told(make_bus: MakeBus) -> None:
    bus = await make_bus()
    messages = bus.subscribe("a")

    async def elsewhere() -> str:
        bus.publish("a", "from another loop")
        try:
            bus.subscribe("a")
        except RuntimeError as error:
            return str(error)
        return ""

    refusal = await asyncio.to_thread(asyncio.run, elsewhere())
    assert "another event loop" in refusal
    assert await take(messages, 1) == ["from another loop"]


@dataclass
class Order:
    id: int
    lines: list[str]


async def test_messages_of_a_type_are_built_and_others_left_out(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    orders = subscriber.subscribe("orders", type=Order)
    publisher.publish("orders", Order(1, ["a"]))
    publisher.publish("orders", "no order")
    publisher.publish("orders", {"id": "x", "lines": []})
    publisher.publish("orders", {"id": 2, "lines": []})
    assert await take(orders, 2) == [Order(1, ["a"]), Order(2, [])]
    assert (orders.delivered, orders.invalid) == (2, 2)


async def test_what_cannot_be_sent_is_refused_at_the_call(make_bus: MakeBus) -> None:
    bus = await make_bus()
    with pytest.raises(Unencodable):
        bus.publish("a", object())
    with pytest.raises(MessageTooLarge):
        bus.publish("a", bytes((64 << 20) + 1))


async def test_large_messages_come_whole_and_in_order(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    messages = subscriber.subscribe("big", type=bytes)
    bodies = [bytes([n]) * size for n, size in enumerate((10, 40_000, 300_000, 16 << 20, 9))]
    for body in bodies:
        publisher.publish("big", body)
    for body in bodies:
        assert (await take(messages, 1))[0] == body
    assert (messages.dropped, messages.gaps) == (0, 0)


async def test_callbacks_are_called_until_they_are_cancelled(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    ear = Ear()
    handle = subscriber.on("a.*", ear)
    publisher.publish("a.x", 1)
    publisher.publish("a.y", 2)
    await ear.hear(2)
    handle.cancel()
    handle.cancel()
    witness = subscriber.subscribe("a.*")
    publisher.publish("a.x", 3)
    await take(witness, 1)
    assert ear.heard == [("a.x", 1), ("a.y", 2)]


async def test_a_callback_that_fails_stops_nobody(
    make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    ear = Ear()

    def fail(topic: str, message: object) -> None:
        raise ZeroDivisionError("on purpose")

    subscriber.on("a", fail)
    subscriber.on("a", ear)
    for number in range(3):
        publisher.publish("a", number)
    await ear.hear(3)
    assert ear.messages == [0, 1, 2]
    assert caplog.text.count("ZeroDivisionError: on purpose") == 3


async def test_a_callback_that_looks_at_a_cancelled_future_does_not_deafen_its_process(
    make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    ear = Ear()

    def look(topic: str, message: object) -> None:
        ear(topic, message)
        cancelled.result()

    subscriber.on("a", look)
    for number in range(3):
        publisher.publish("a", number)
        await ear.hear(number + 1)
    assert ear.messages == [0, 1, 2]
    assert caplog.text.count("a callback for messages of a failed") == 3


async def test_a_flood_leaves_the_loop_to_others(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    ear = Ear()
    turns = 0

    def work(topic: str, message: object) -> None:
        threading.Event().wait(0.001)  # as long as a callback should never take
        ear(topic, message)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)  # what is counted

    subscriber.on("a", work)
    for number in range(200):
        publisher.publish("a", number)
    counting = asyncio.create_task(count_turns())
    await ear.hear(200)
    counting.cancel()
    assert turns > 10
