"""Requests and replies, on every engine."""

import asyncio

import pytest

from tercio.errors import NoReply, RequestFailed, WrongType
from tests.bus.conftest import PATIENCE, MakeBus, take


async def test_a_request_is_answered_by_another_process_or_by_this_one(make_bus: MakeBus) -> None:
    asking, answering = await make_bus(), await make_bus()
    answering.reply("math.*", lambda topic, pair: [topic, sum(pair)], type=list[int])
    assert await asking.request("math.add", [1, 2], PATIENCE) == ["math.add", 3]
    assert await answering.request("math.add", [3, 4], PATIENCE) == ["math.add", 7]


async def test_a_handler_may_be_a_coroutine_function_and_answers_have_a_type(
    make_bus: MakeBus,
) -> None:
    asking, answering = await make_bus(), await make_bus()

    async def handle(topic: str, message: int) -> int:
        await asyncio.sleep(0)
        return message * 2

    answering.reply("double", handle)
    answers = [asking.request("double", n, PATIENCE, type=int) for n in range(20)]
    assert await asyncio.gather(*answers) == [2 * n for n in range(20)]
    with pytest.raises(WrongType):
        await asking.request("double", 1, PATIENCE, type=str)


async def test_nobody_there_is_no_reply(make_bus: MakeBus) -> None:
    asking, other = await make_bus(), await make_bus()
    subscription = other.subscribe("**")
    with pytest.raises(NoReply, match=r"nobody replied to nobody within 0.05 s"):
        await asking.request("nobody", 1, 0.05)
    asking.publish("a", "requests are no messages")
    assert await take(subscription, 1) == ["requests are no messages"]


async def test_what_a_handler_raises_comes_back(
    make_bus: MakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    asking, answering = await make_bus(), await make_bus()

    async def fail_later(topic: str, message: object) -> None:
        raise ValueError("later")

    def fail(topic: str, message: object) -> None:
        raise KeyError("at once")

    def look_at_cancelled(topic: str, message: object) -> None:
        cancelled.result()

    async def wait_for_cancelled(topic: str, message: object) -> None:
        await cancelled

    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    answering.reply("fail.cancelled.now", look_at_cancelled)
    answering.reply("fail.cancelled.later", wait_for_cancelled)
    answering.reply("fail.later", fail_later)
    answering.reply("fail.now", fail)
    answering.reply("fail.type", lambda topic, message: None, type=int)
    answering.reply("fail.answer", lambda topic, message: object())
    for topic, text in [
        ("fail.cancelled.now", "CancelledError"),
        ("fail.cancelled.later", "CancelledError"),
        ("fail.later", "ValueError: later"),
        ("fail.now", "KeyError: 'at once'"),
        ("fail.type", "not of the type asked for"),
        ("fail.answer", "cannot be shared"),
    ]:
        with pytest.raises(RequestFailed, match=text):
            await asking.request(topic, "x", PATIENCE)
    assert "ValueError: later" in caplog.text


async def test_of_several_answers_one_counts(make_bus: MakeBus) -> None:
    asking = await make_bus()
    for _ in range(2):
        (await make_bus()).reply("who", lambda topic, message: "me")
    for _ in range(10):
        assert await asking.request("who", None, PATIENCE) == "me"


async def test_a_cancelled_handler_answers_no_more(make_bus: MakeBus) -> None:
    asking, answering = await make_bus(), await make_bus()
    handle = answering.reply("x", lambda topic, message: 1)
    assert await asking.request("x", None, PATIENCE) == 1
    handle.cancel()
    with pytest.raises(NoReply):
        await asking.request("x", None, 0.05)


async def test_internal_messages_go_to_internal_listeners_only(make_bus: MakeBus) -> None:
    publisher, subscriber = await make_bus(), await make_bus()
    found: list[bytes] = []
    arrived = asyncio.Event()

    def note(body: bytes) -> None:
        found.append(body)
        arrived.set()

    subscriber.on_internal(".state", note)
    everything = subscriber.subscribe("**", "*.*")
    publisher.publish_internal(".state", b"\xff raw")
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    assert found == [b"\xff raw"]
    publisher.publish("a", 1)
    assert await take(everything, 1) == [1]
