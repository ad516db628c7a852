"""What channels_redis' tests (scripts/test-upstream) don't say of our layer."""

import asyncio

import pytest
from channels.exceptions import ChannelFull  # type: ignore[import-untyped]

from tercio.integrations.channels import TercioChannelLayer
from tercio.testing import Clock

MESSAGE = {"type": "chat.said", "text": "hello", "bytes": b"\x00"}


async def test_a_message_arrives_in_the_process_that_made_the_channel() -> None:
    layer, other = TercioChannelLayer(), TercioChannelLayer()
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    await other.send(channel, MESSAGE)
    assert await receiving == MESSAGE
    with pytest.raises(AssertionError, match="Wrong client prefix"):
        await other.receive(channel)


async def test_a_group_is_sent_to_and_who_left_hears_nothing() -> None:
    layer = TercioChannelLayer()
    stays, leaves = [await layer.new_channel() for _ in range(2)]
    for channel in (stays, leaves):
        await layer.group_add("room", channel)
    await layer.group_discard("room", leaves)
    await layer.group_send("room", MESSAGE)
    assert await layer.receive(stays) == MESSAGE
    assert await layer._queue(leaves).size() == 0


async def test_a_full_channel_refuses_and_is_left_out_of_its_group() -> None:
    layer = TercioChannelLayer(capacity=2, channel_capacity={"tiny*": 1})
    await layer.send("tiny", MESSAGE)
    with pytest.raises(ChannelFull):
        await layer.send("tiny", MESSAGE)
    await layer.group_add("room", "tiny")
    await layer.group_add("room", "big")
    await layer.group_send("room", MESSAGE)
    assert await layer.receive("big") == MESSAGE


async def test_messages_and_members_end_after_their_time(tercio_clock: Clock) -> None:
    layer = TercioChannelLayer(expiry=60, group_expiry=3600)
    await layer.group_add("room", "channel")
    await layer.send("channel", {"type": "old"})
    tercio_clock.advance(61)
    await layer.group_send("room", {"type": "new"})
    assert await layer.receive("channel") == {"type": "new"}
    tercio_clock.advance(3601)
    await layer.group_send("room", {"type": "nobody hears it"})
    assert await layer._queue("channel").size() == 0


async def test_a_cancelled_receive_loses_nothing() -> None:
    layer = TercioChannelLayer()
    for number in range(20):
        receiving = asyncio.create_task(layer.receive("channel"))
        await asyncio.sleep(0)
        await layer.send("channel", {"type": "n", "number": number})
        receiving.cancel()
        try:
            assert await receiving == {"type": "n", "number": number}
        except asyncio.CancelledError:
            assert await layer.receive("channel") == {"type": "n", "number": number}


async def test_a_flush_forgets_one_layer_and_names_keep_layers_apart() -> None:
    layer, other = TercioChannelLayer(), TercioChannelLayer(name="other")
    for each in (layer, other):
        await each.group_add("room", "channel")
        await each.send("channel", MESSAGE)
    await layer.flush()
    await layer.group_send("room", MESSAGE)
    assert [await each._queue("channel").size() for each in (layer, other)] == [0, 1]


async def test_names_that_are_none_are_refused() -> None:
    layer = TercioChannelLayer()
    for call in (
        layer.send("a b", MESSAGE),
        layer.receive("a b"),
        layer.group_add("a!b", "channel"),
        layer.group_send("a:b", MESSAGE),
    ):
        with pytest.raises(TypeError):
            await call
