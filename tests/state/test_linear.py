"""The checker of histories finds what is wrong with one."""

from tests.state.linear import Call, explains


def test_calls_at_the_same_time_may_come_in_any_order() -> None:
    assert explains([Call(0, 10, "incr", None, 2), Call(1, 9, "incr", None, 1)])
    assert explains([Call(0, 10, "set", 5, True), Call(1, 9, "get", None, 0)])


def test_a_lost_update_is_found() -> None:
    assert not explains([Call(0, 10, "incr", None, 1), Call(1, 9, "incr", None, 1)])


def test_an_old_value_after_a_write_that_had_ended_is_found() -> None:
    assert not explains([Call(0, 1, "set", 5, True), Call(2, 3, "get", None, 0)])


def test_a_value_that_goes_back_is_found() -> None:
    calls = [Call(0, 9, "set", 5, True), Call(1, 2, "get", None, 5), Call(3, 4, "get", None, 0)]
    assert not explains(calls)
    assert explains([calls[0], calls[2]])
