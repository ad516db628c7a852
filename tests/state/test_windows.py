"""Rate limits on every engine."""

import asyncio
import math

import pytest

from tercio.state.limits import LimitKind
from tercio.state.state import State
from tests.state.engines import Subject

KINDS: tuple[LimitKind, ...] = ("fixed", "moving", "sliding")


@pytest.mark.parametrize("kind", KINDS)
async def test_no_more_than_the_limit_is_allowed(state: State, kind: LimitKind) -> None:
    answers = [await state.limit("ip", 3, 3600.0, kind=kind) for _ in range(5)]
    assert [answer.allowed for answer in answers] == [True, True, True, False, False]
    assert [answer.hits for answer in answers] == [1, 2, 3, 3, 3]
    assert all(0.0 < answer.reset_after <= 3600.0 for answer in answers)
    assert (await state.limit("other", 3, 3600.0, kind=kind)).allowed


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cost_counts_whole_or_not_at_all(state: State, kind: LimitKind) -> None:
    assert (await state.limit("ip", 5, 3600.0, kind=kind, cost=3)).allowed
    refused = await state.limit("ip", 5, 3600.0, kind=kind, cost=3)
    assert (refused.allowed, refused.hits) == (False, 3)
    assert (await state.limit("ip", 5, 3600.0, kind=kind, cost=2)).hits == 5
    look = await state.limit("ip", 5, 3600.0, kind=kind, cost=0)
    assert (look.allowed, look.hits) == (True, 5)


@pytest.mark.parametrize("kind", KINDS)
async def test_room_comes_back(state: State, subject: Subject, kind: LimitKind) -> None:
    for _ in range(2):
        await state.limit("ip", 2, 0.5, kind=kind)
    await subject.pass_time(1.1)
    assert (await state.limit("ip", 2, 0.5, kind=kind)).hits == 1


async def test_hits_at_the_same_time_are_not_let_through_twice(state: State) -> None:
    hits = [state.limit("ip", 10, 3600.0, kind="moving") for _ in range(30)]
    answers = await asyncio.gather(*hits)
    assert sum(answer.allowed for answer in answers) == 10


NO_LIMITS = [
    (-1, 1.0, 1), (1, 0.0, 1), (1, 1.0, -1), (1, math.inf, 1), (1, math.nan, 1), (1, 1e-9, 1),
    (1, 1e12, 1), (1 << 60, 1.0, 1), (1, 1.0, 1 << 60),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("limit", "period", "cost"), NO_LIMITS)
async def test_what_is_no_limit_is_refused(
    state: State, kind: LimitKind, limit: int, period: float, cost: int
) -> None:
    with pytest.raises(ValueError, match="limit"):
        await state.limit("ip", limit, period, kind=kind, cost=cost)


async def test_parts_of_a_hit_are_refused(state: State) -> None:
    with pytest.raises(TypeError, match=r"cost=0\.5"):
        await state.limit("ip", 3, 1.0, cost=0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"limit=2\.5"):
        await state.limit("ip", 2.5, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_are_counted_as_well_as_calls(state: State, kind: LimitKind) -> None:
    most = 10**15
    assert (await state.limit("up", most, 3600.0, kind=kind, cost=most - 1)).hits == most - 1
    assert not (await state.limit("up", most, 3600.0, kind=kind, cost=2)).allowed
    last = await state.limit("up", most, 3600.0, kind=kind)
    assert (last.allowed, last.hits) == (True, most)
    assert not (await state.limit("up", most, 3600.0, kind=kind)).allowed


async def test_a_moving_window_counts_on_when_its_sum_wraps_around(
    state: State, subject: Subject
) -> None:
    most = 10**15
    for _ in range(20):  # 2 * 10^16: beyond 2^52, where Redis begins anew
        answers = [await state.limit("up", most, 0.05, kind="moving", cost=most) for _ in range(2)]
        assert [answer.hits for answer in answers if answer.allowed] in ([most], [most, most])
        await subject.pass_time(0.06)


async def test_the_oldest_of_many_hits_end_first(state: State, subject: Subject) -> None:
    for _ in range(300):
        assert (await state.limit("ip", 1000, 3600.0, kind="moving")).allowed
    await subject.pass_time(1.0)
    assert (await state.limit("ip", 1000, 3600.0, kind="moving")).hits == 301
    # Of a shorter period it is at most the last one.
    answer = await state.limit("ip", 1000, 0.9, kind="moving")
    assert answer.hits <= 2
    assert 0.0 < answer.reset_after < 0.91
