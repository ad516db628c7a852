"""Rate limits on every engine."""

import asyncio

import pytest

from tercio.state.limits import LimitKind
from tercio.state.state import State
from tests.state.engines import Subject


@pytest.mark.parametrize("kind", ["fixed", "moving", "sliding"])
async def test_no_more_than_the_limit_is_allowed(state: State, kind: LimitKind) -> None:
    answers = [await state.limit("ip", 3, 3600.0, kind=kind) for _ in range(5)]
    assert [answer.allowed for answer in answers] == [True, True, True, False, False]
    assert [answer.hits for answer in answers] == [1, 2, 3, 3, 3]
    assert all(0.0 < answer.reset_after <= 3600.0 for answer in answers)
    assert (await state.limit("other", 3, 3600.0, kind=kind)).allowed


@pytest.mark.parametrize("kind", ["fixed", "moving", "sliding"])
async def test_a_cost_counts_whole_or_not_at_all(state: State, kind: LimitKind) -> None:
    assert (await state.limit("ip", 5, 3600.0, kind=kind, cost=3)).allowed
    refused = await state.limit("ip", 5, 3600.0, kind=kind, cost=3)
    assert (refused.allowed, refused.hits) == (False, 3)
    assert (await state.limit("ip", 5, 3600.0, kind=kind, cost=2)).hits == 5
    look = await state.limit("ip", 5, 3600.0, kind=kind, cost=0)
    assert (look.allowed, look.hits) == (True, 5)


@pytest.mark.parametrize("kind", ["fixed", "moving", "sliding"])
async def test_room_comes_back(state: State, subject: Subject, kind: LimitKind) -> None:
    for _ in range(2):
        await state.limit("ip", 2, 0.5, kind=kind)
    await subject.pass_time(1.1)
    assert (await state.limit("ip", 2, 0.5, kind=kind)).hits == 1


async def test_hits_at_the_same_time_are_not_let_through_twice(state: State) -> None:
    hits = [state.limit("ip", 10, 3600.0, kind="moving") for _ in range(30)]
    answers = await asyncio.gather(*hits)
    assert sum(answer.allowed for answer in answers) == 10


@pytest.mark.parametrize(("limit", "period", "cost"), [(-1, 1.0, 1), (1, 0.0, 1), (1, 1.0, -1)])
async def test_what_is_no_limit_is_refused(
    state: State, limit: int, period: float, cost: int
) -> None:
    with pytest.raises(ValueError, match="limit"):
        await state.limit("ip", limit, period, cost=cost)
