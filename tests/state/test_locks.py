"""Locks and leaders on every engine."""

import asyncio

import pytest

from tercio.errors import LockLost, LockTaken
from tercio.state.engine import StateEngine
from tercio.state.notifier import LocalNotifier
from tercio.state.state import State
from tercio.state.verbs import Acquire, Release, Renew
from tests.state.engines import Subject


@pytest.fixture
def engine(subject: Subject) -> StateEngine:
    return subject.engine


async def test_one_owner_has_a_lock_and_tokens_only_grow(
    engine: StateEngine, subject: Subject
) -> None:
    first = await engine.run(Acquire(b"l::x", b"ann", 0.5))
    assert first is not None
    assert await engine.run(Acquire(b"l::x", b"bob", 0.5)) is None
    assert await engine.run(Acquire(b"l::x", b"ann", 0.5)) == first
    assert not await engine.run(Renew(b"l::x", b"bob", 0.5))
    assert not await engine.run(Release(b"l::x", b"bob"))
    await subject.pass_time(0.6)
    assert not await engine.run(Renew(b"l::x", b"ann", 0.5))
    second = await engine.run(Acquire(b"l::x", b"bob", 5.0))
    assert second is not None
    assert second > first
    assert not await engine.run(Release(b"l::x", b"ann"))
    assert await engine.run(Release(b"l::x", b"bob"))
    third = await engine.run(Acquire(b"l::x", b"ann", 0.5))
    assert third is not None
    assert third > second


async def test_one_task_at_a_time_is_inside(state: State) -> None:
    inside, most, tokens = 0, 0, []

    async def enter() -> None:
        nonlocal inside, most
        async with state.lock("door") as lock:
            inside += 1
            most = max(most, inside)
            tokens.append(lock.token)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert (most, len(tokens)) == (1, 10)
    assert tokens == sorted(set(tokens))


async def test_a_lock_that_is_not_free_in_time_is_refused(state: State) -> None:
    async with state.lock("door"):
        with pytest.raises(LockTaken):
            async with state.lock("door", timeout=0.05):
                raise AssertionError("unreachable")
        async with state.namespace("other").lock("door", timeout=0.0):
            pass
    async with state.lock("door", timeout=0.0):
        pass


async def test_a_lock_is_renewed_while_it_is_held(state: State) -> None:
    # Not shorter: on a slow machine the loop may come late.
    async with state.lock("door", ttl=2.0) as lock:
        before = lock.token
        await lock.renew(5.0)
        assert not lock.lost.is_set()
        assert lock.token == before


async def test_the_body_of_a_lost_lock_is_cancelled(state: State, engine: StateEngine) -> None:
    was_cancelled = False

    async def hold() -> None:
        nonlocal was_cancelled
        async with state.lock("door", ttl=0.3) as lock:
            # As if it had expired while this process was stopped, and another one had it.
            await engine.run(Release(b"l::door", lock._owner))
            assert await engine.run(Acquire(b"l::door", b"other", 60.0))
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                was_cancelled = True
                assert lock.lost.is_set()
                raise

    with pytest.raises(LockLost):
        await asyncio.wait_for(hold(), 30.0)
    assert was_cancelled


async def test_who_is_cancelled_while_it_waits_leaves_no_lock_behind(state: State) -> None:
    async def enter() -> None:
        async with state.lock("door"):
            raise AssertionError("unreachable")

    async with state.lock("door"):
        waiting = asyncio.create_task(enter())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await state.settle()
    async with state.lock("door", timeout=0.0):
        pass


async def test_an_error_in_the_body_comes_out_and_frees_the_lock(state: State) -> None:
    with pytest.raises(ZeroDivisionError):
        async with state.lock("door"):
            raise ZeroDivisionError
    async with state.lock("door", timeout=0.0):
        pass


async def test_who_waits_for_a_lock_is_told_when_it_is_free(subject: Subject) -> None:
    notifier = LocalNotifier()
    state = State(subject.engine, notifier)
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(5):
        entered = asyncio.Event()

        async def enter(entered: asyncio.Event = entered) -> float:
            async with state.lock("door"):
                entered.set()
                return loop.time()

        async with state.lock("door"):
            waiting = asyncio.create_task(enter())
            await asyncio.sleep(0.02)
            freed = loop.time()
        waits.append(await waiting - freed)
    assert min(waits) < 0.1  # by the look alone it would be up to 0.25 s each time


async def test_a_leader_leads_alone_and_the_next_one_follows(state: State) -> None:
    first = state.leader("nightly", ttl=5.0)
    async with first:
        follower = asyncio.create_task(state.leader("nightly", ttl=5.0).__aenter__())
        await asyncio.sleep(0.05)
        assert not follower.done()
        async with state.lock("nightly", timeout=0.0):  # another thing of the same name
            pass
        token = first.token
    second = await asyncio.wait_for(follower, 30.0)
    assert second.token > token
    await second.__aexit__(None, None, None)
