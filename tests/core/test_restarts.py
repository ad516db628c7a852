"""Back-off and breaker."""

from hypothesis import given
from hypothesis import strategies as st

from tercio.core.policy import Policy
from tercio.core.restarts import Breaker, back_off

POLICY = Policy()


@given(st.integers(1, 5000), st.floats(0, 0.9999))
def test_back_off_lies_between_half_and_whole_of_the_doubled_base(k: int, chance: float) -> None:
    whole = min(30.0, 0.25 * 2 ** min(k - 1, 60))
    assert 0.5 * whole <= back_off(k, POLICY, lambda: chance) <= whole


def test_the_first_tries_come_at_a_quarter_a_half_one_two() -> None:
    highest = [back_off(k, POLICY, lambda: 1.0) for k in (1, 2, 3, 4, 8, 20)]
    assert highest == [0.25, 0.5, 1.0, 2.0, 30.0, 30.0]


def test_an_app_that_fails_at_import_starts_at_most_eight_times_in_thirty_seconds() -> None:
    now, starts = 0.0, 1
    while True:
        now += back_off(starts, POLICY, lambda: 0.0)  # the luckiest draw there is
        if now > 30.0:
            break
        starts += 1
    assert starts <= 8


def test_the_breaker_opens_after_five_or_twice_the_workers_whichever_is_more() -> None:
    for target, allowed in ((1, 5), (2, 5), (4, 8), (8, 16)):
        breaker = Breaker()
        opened = [breaker.record(float(i), POLICY, target) for i in range(allowed)]
        assert opened == [False] * (allowed - 1) + [True]


def test_old_deaths_do_not_count() -> None:
    breaker = Breaker()
    for i in range(100):
        assert not breaker.record(i * 16.0, POLICY, 1)
