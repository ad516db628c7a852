"""Leases in bad times: a loop that is blocked, one that is shortened, a store that is away."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tercio.engines.local.state import LocalState
from tercio.errors import LockLost, StateUnavailable
from tercio.state.state import State
from tercio.state.verbs import Acquire, Release, Renew, Verb
from tests.state.engines import Subject

R = TypeVar("R")


class Heard(LocalState):
    """Tells of each verb before it is carried out; who is told may raise."""

    def __init__(self, tell: Callable[[Verb[Any]], None]) -> None:
        super().__init__()
        self._tell = tell

    def run_now(self, verb: Verb[R]) -> R:
        self._tell(verb)
        return super().run_now(verb)


def block(subject: Subject, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Hold up the running loop until time has passed, and something has been done elsewhere."""

    async def pass_time() -> None:
        await subject.pass_time(0.4)

    def live() -> None:
        asyncio.run(pass_time())
        meanwhile()

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_loop_that_was_blocked_for_longer_than_the_lease_learns_it(
    state: State, subject: Subject, goes_on: bool
) -> None:
    lock = state.lock("door", ttl=0.3)
    tokens: list[int | None] = []
    reached = False

    def usurp() -> None:
        tokens.append(subject.engine.run_now(Acquire(b"l::door", b"other", 60.0)))

    async def hold() -> None:
        nonlocal reached
        async with lock:
            tokens.append(lock.token)
            block(subject, usurp)
            if goes_on:
                await asyncio.wait_for(asyncio.Event().wait(), 30.0)
                reached = True

    with pytest.raises(LockLost):
        await hold()
    assert lock.lost.is_set()
    assert not reached
    mine, others = tokens
    assert mine is not None
    assert others is not None
    assert others > mine, "what the late one writes must be refused by its token"
    # It has not let go what is the other one's.
    assert await subject.engine.run(Renew(b"l::door", b"other", 60.0))


async def test_a_lease_that_ended_unseen_is_lost_although_nobody_took_it(
    state: State, subject: Subject
) -> None:
    async def hold() -> None:
        async with state.lock("door", ttl=0.3):
            block(subject)

    with pytest.raises(LockLost):
        await hold()


async def test_a_lease_that_is_shortened_is_renewed_in_time() -> None:
    renewed = asyncio.Event()
    engine = Heard(lambda verb: renewed.set() if isinstance(verb, Renew) else None)
    async with State(engine).lock("door", ttl=60.0) as lock:
        await lock.renew(3.0)
        renewed.clear()
        await asyncio.wait_for(renewed.wait(), 10.0)  # the keeper meant to sleep for 20 s
        assert not lock.lost.is_set()


def test_a_lease_of_a_thread_that_is_shortened_is_renewed_in_time() -> None:
    renewed = threading.Event()
    engine = Heard(lambda verb: renewed.set() if isinstance(verb, Renew) else None)
    with State(engine).sync.lock("door", ttl=60.0) as lock:
        lock.renew(3.0)
        renewed.clear()
        assert renewed.wait(10.0)
        assert not lock.lost.is_set()


@pytest.mark.parametrize("ttl", [0.0, -1.0, float("nan"), float("inf")])
async def test_no_time_is_no_renewal(ttl: float) -> None:
    state = State(LocalState())
    async with state.lock("door") as lock:
        with pytest.raises(ValueError, match="ttl"):
            await lock.renew(ttl)

    def in_a_thread() -> None:
        with state.sync.lock("door") as lock, pytest.raises(ValueError, match="ttl"):
            lock.renew(ttl)

    await asyncio.to_thread(in_a_thread)


def refuse_to_release(verb: Verb[Any]) -> None:
    if isinstance(verb, Release):
        raise StateUnavailable("the store is away")


async def test_what_the_body_raised_comes_before_a_release_that_failed() -> None:
    state = State(Heard(refuse_to_release))
    with pytest.raises(ZeroDivisionError):
        async with state.lock("door"):
            raise ZeroDivisionError
    with pytest.raises(StateUnavailable):
        async with state.lock("window"):
            pass

    def in_a_thread() -> None:
        with pytest.raises(ZeroDivisionError), state.sync.lock("gate"):
            raise ZeroDivisionError

    await asyncio.to_thread(in_a_thread)


def test_a_lock_of_a_thread_is_used_once_and_takes_nothing_the_second_time() -> None:
    state = State(LocalState())
    lock = state.sync.lock("door")
    with lock:
        pass
    with pytest.raises(RuntimeError, match="once"):
        lock.__enter__()
    with state.sync.lock("door", timeout=0.0):
        pass
