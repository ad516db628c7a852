"""When jobs are due: pure, with time as an argument."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercio.errors import ConfigError
from tercio.jobs.schedule import SKEW, Cron, Every, Schedule, offset, plan

TIMES = st.floats(min_value=1.6e9, max_value=2.2e9)
PERIODS = st.sampled_from([0.05, 0.1, 0.2, 0.3, 1.0, 1.1, 7.0, 60.0, 3600.0, 86400.0])
CRONS = st.builds(
    Cron,
    st.sampled_from(
        ["* * * * *", "*/7 * * * *", "0 3 * * *", "30 2 * * *", "15 */2 * * *", "0 9 * * 1-5",
         "0 0 29 2 *", "0,30 1,2 * * *", "*/20 * * * * *", "0 0 1 * *"]
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)  # fmt: skip
SCHEDULES: st.SearchStrategy[Schedule] = st.one_of(st.builds(Every, PERIODS), CRONS)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@given(SCHEDULES, TIMES)
def test_the_latest_point_is_one_that_comes_after_another(schedule: Schedule, time: float) -> None:
    first = schedule.after(time)
    second = schedule.after(first)
    assert time < first < second
    assert schedule.latest(time, first) == first
    assert schedule.latest(time, math.nextafter(first, 0)) is None
    assert schedule.latest(time, second) == second
    assert schedule.latest(first, second) == second
    assert schedule.latest(second, second) is None
    # Whoever begins to look in between sees the same points.
    assert schedule.after((first + second) / 2) == second


@given(SCHEDULES, TIMES, st.lists(st.floats(min_value=0.01, max_value=4e5), max_size=12))
def test_looking_again_and_again_takes_each_point_once_at_most(
    schedule: Schedule, begin: float, steps: list[float]
) -> None:
    seen, now, taken = begin, begin, []
    for step in steps:
        now += step
        judged = plan(schedule, seen, now, since=begin, misfire=60)
        assert judged.missed is None, "nothing is missed while somebody watches"
        assert judged.wake > now
        if judged.due is not None:
            assert seen < judged.due <= now
            # What is left out comes together with it.
            assert schedule.latest(judged.due, now) is None
            seen = judged.due
            taken.append(seen)
    assert taken == sorted(set(taken))
    assert plan(schedule, seen, now, since=begin, misfire=60).due is None


@given(SCHEDULES, TIMES, st.floats(min_value=0, max_value=4e5), st.floats(0, 1e5))
def test_what_was_missed_is_made_up_for_within_its_grace(
    schedule: Schedule, seen: float, away: float, misfire: float
) -> None:
    now = seen + away
    judged = plan(schedule, seen, now, since=now, misfire=misfire)
    point = schedule.latest(seen, now)
    if point is None:
        assert (judged.due, judged.missed) == (None, None)
    elif point == now or point + misfire >= now:
        assert (judged.due, judged.missed) == (point, None)
    else:
        assert (judged.due, judged.missed) == (None, point)


@given(PERIODS, TIMES, st.floats(min_value=0.01, max_value=0.99))
def test_jitter_moves_the_begin_and_nothing_else(period: float, time: float, part: float) -> None:
    schedule, jitter = Every(period), period * part
    point = schedule.after(time)
    moved = offset("job", point, jitter)
    assert 0 <= moved < jitter
    early = plan(schedule, time, point, since=time, misfire=60, jitter=jitter, name="job")
    if point + moved > point:
        assert early.due is None
        assert early.wake == min(
            point + moved, schedule.after(point) + offset("job", schedule.after(point), jitter)
        )
        point_and = point + moved
    else:
        point_and = point
    late = plan(schedule, time, point_and, since=time, misfire=60, jitter=jitter, name="job")
    assert late.due == point


def test_a_clock_that_was_far_ahead_holds_nothing_up() -> None:
    now = at("2026-05-04T12:00:30Z")
    ahead = plan(Every(60), now + SKEW + 1e6, now, since=now, misfire=60)
    assert (ahead.due, ahead.wake) == (None, now + 30)
    assert plan(Every(60), now + SKEW + 1e6, now + 30, since=now, misfire=60).due is None
    # Two machines that differ by less share their points.
    assert plan(Every(60), now + 100, now + 30, since=now, misfire=60).due is None


@pytest.mark.parametrize(
    ("expression", "begin", "expected"),
    [
        # 29 March 2026, 02:00 to 03:00 do not exist in Berlin: a fixed time runs at 03:00.
        ("30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]),
        # An hourly job runs each hour that passes.
        ("0 * * * *", "2026-03-29T01:00+01:00", ["2026-03-29T01:00Z", "2026-03-29T02:00Z"]),
        # 25 October 2026, 02:00 to 03:00 come twice: a fixed time runs once, the first time.
        ("30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        ("0 * * * *", "2026-10-25T01:30+02:00", ["2026-10-25T00:00Z", "2026-10-25T01:00Z"]),
        # 03:00 is 03:00 on each of these days.
        ("0 3 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T01:00Z", "2026-03-30T01:00Z"]),
    ],
)  # fmt: skip
def test_cron_when_clocks_are_changed(expression: str, begin: str, expected: list[str]) -> None:
    schedule, time = Cron(expression, "Europe/Berlin"), at(begin)
    for point in expected:
        time = schedule.after(time)
        assert datetime.fromtimestamp(time, UTC) == datetime.fromisoformat(point)


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("61 * * * *", "UTC", "cannot be understood"),
        ("hourly", "UTC", "cannot be understood"),
        ("0 0 30 2 *", "UTC", r"cannot be understood|never comes"),
        ("0 3 * * *", "Europe/Nowhere", "no time zone"),
        ("0 3 * * *", "", "no time zone"),
        ("0 3 * * *", "../etc/passwd", "no time zone"),
    ],
)
def test_what_is_no_time_is_said_at_once(expression: str, zone: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Cron.parse(expression, zone)
