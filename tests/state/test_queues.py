"""Queues and groups on every engine."""

import asyncio

import pytest

from tercio.errors import QueueFull, ValueTooLarge, WrongType
from tercio.state.state import State
from tercio.state.verbs import PutBack
from tests.state.engines import Subject


async def test_items_come_out_in_order_and_once(state: State) -> None:
    queue = state.queue("jobs", type=int)
    for number in range(50):
        await queue.put(number)
    assert await queue.size() == 50
    assert [await queue.get() for _ in range(50)] == list(range(50))
    assert await queue.size() == 0
    with pytest.raises(TimeoutError):
        await queue.get(timeout=0.0)


async def test_a_full_queue_takes_nothing_until_there_is_room(state: State) -> None:
    queue = state.queue("jobs", capacity=2)
    await queue.put_nowait(1)
    await queue.put_nowait(2)
    with pytest.raises(QueueFull):
        await queue.put_nowait(3)
    with pytest.raises(QueueFull):
        await queue.put(3, timeout=0.02)
    late = asyncio.create_task(queue.put(3))
    assert await queue.get() == 1
    await asyncio.wait_for(late, 30.0)
    assert [await queue.get(), await queue.get()] == [2, 3]


async def test_items_expire_and_then_take_no_room(state: State, subject: Subject) -> None:
    short, long = state.queue("jobs", capacity=2, ttl=0.3), state.queue("jobs", capacity=2)
    await short.put("a")
    await long.put("b")
    await subject.pass_time(0.4)
    assert await long.size() == 1
    await long.put_nowait("c")
    assert [await long.get(), await long.get()] == ["b", "c"]


async def test_who_waits_gets_the_item_that_comes(state: State) -> None:
    queue = state.queue("jobs", type=str)
    waiting = [asyncio.create_task(queue.get(timeout=30.0)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for item in ("a", "b", "c"):
        await queue.put(item)
    assert sorted(await asyncio.gather(*waiting)) == ["a", "b", "c"]


async def test_a_cancelled_receive_takes_nothing(state: State) -> None:
    queue = state.queue("jobs", type=int)
    for delay in (0, 0, 1, 2, 3, 5, 8):  # turns of the loop
        waiting = asyncio.create_task(queue.get())
        await queue.put(7)
        for _ in range(delay):
            await asyncio.sleep(0)
        waiting.cancel()
        try:
            taken = await waiting
        except asyncio.CancelledError:
            await state.settle()
            taken = await queue.get(timeout=0.0)
        assert taken == 7
        assert await queue.size() == 0


async def test_what_is_put_back_is_the_oldest_even_in_a_full_queue(
    state: State, subject: Subject
) -> None:
    queue = state.queue("jobs", capacity=2, type=str)
    await queue.put("a")
    await queue.put("b")
    await subject.engine.run(PutBack(b"q::jobs", b"\xa1z"))
    assert await queue.size() == 3
    assert [await queue.get() for _ in range(3)] == ["z", "a", "b"]


async def test_an_item_of_another_type_is_taken_and_refused(state: State) -> None:
    await state.queue("jobs").put("text")
    queue = state.queue("jobs", type=int)
    with pytest.raises(WrongType):
        await queue.get()
    assert await queue.size() == 0


async def test_a_removed_queue_is_empty_and_can_be_used_again(state: State) -> None:
    queue = state.queue("jobs", type=int)
    for number in range(300):
        await queue.put(number)
    assert await state.remove_queue("jobs")
    assert not await state.remove_queue("jobs")
    await queue.put(1000)
    assert await queue.size() == 1
    assert await queue.get() == 1000


async def test_a_queue_can_be_iterated(state: State) -> None:
    queue = state.queue("jobs", type=int)
    for number in range(3):
        await queue.put(number)
    seen = []
    async for number in queue:
        seen.append(number)
        if number == 2:
            break
    assert seen == [0, 1, 2]


async def test_a_group_has_each_member_once(state: State) -> None:
    group = state.group("online")
    assert [await group.add(name) for name in ("bob", "ann", "bob")] == [True, True, False]
    assert await group.members() == ["ann", "bob"]
    assert await group.size() == 2
    assert await group.discard("ann")
    assert not await group.discard("ann")
    assert await group.members() == ["bob"]
    assert await state.remove_group("online")
    assert await group.members() == []


async def test_members_that_are_not_renewed_are_out(state: State, subject: Subject) -> None:
    group = state.group("online", ttl=0.6)
    await group.add("ann")
    await group.add("bob")
    await subject.pass_time(0.4)
    assert not await group.add("bob")
    await subject.pass_time(0.4)
    assert await group.members() == ["bob"]
    assert await group.size() == 1
    assert not await group.discard("ann")
    assert await group.add("ann")


async def test_a_member_has_400_bytes(state: State) -> None:
    group = state.group("online")
    assert await group.add("x" * 400)
    assert await group.members() == ["x" * 400]
    with pytest.raises(ValueTooLarge):
        await group.add("x" * 401)


async def test_a_large_group_is_told_whole(state: State) -> None:
    group = state.group("online")
    names = [f"user{number:04}" for number in range(600)]
    for name in names:
        await group.add(name)
    assert await group.members() == names
