"""When a WebSocket is pinged, and when it is given up."""

import pytest

from tercio.http.pings import Overdue, Pings


def test_nothing_is_sent_before_the_interval() -> None:
    pings = Pings(20.0, 10.0)
    assert pings.look(100.0, False) is None
    assert pings.look(119.9, False) is None
    assert pings.look(120.0, False) is not None


def test_an_answered_ping_is_followed_by_the_next_one() -> None:
    pings = Pings(20.0, 10.0)
    pings.look(100.0, False)
    first = pings.look(121.0, False)
    assert first is not None
    pings.pong(first)
    assert pings.look(140.9, False) is None
    second = pings.look(141.0, False)
    assert second not in (None, first)


def test_an_unanswered_ping_is_overdue() -> None:
    pings = Pings(20.0, 10.0)
    pings.look(100.0, False)
    ping = pings.look(120.0, False)
    assert ping is not None
    pings.pong(b"another")
    assert pings.look(129.9, False) is None
    with pytest.raises(Overdue):
        pings.look(130.0, False)


def test_who_talks_is_alive_and_is_pinged_all_the_same() -> None:
    pings = Pings(20.0, 30.0)
    pings.look(100.0, False)
    sent = [pings.look(float(now), True) for now in range(101, 200)]
    assert sum(ping is not None for ping in sent) == 4
    assert pings.look(228.9, False) is None
    with pytest.raises(Overdue):
        pings.look(229.0, False)


@pytest.mark.parametrize("now", [0.0, 1e3, 1e9])
def test_no_interval_is_no_ping(now: float) -> None:
    assert Pings(0.0, 10.0).look(now, False) is None


def test_without_a_time_out_nobody_is_given_up() -> None:
    pings = Pings(20.0, 0.0)
    pings.look(100.0, False)
    assert pings.look(120.0, False) is not None
    assert pings.look(139.0, False) is None
    assert pings.look(140.0, False) is not None
