"""Connections are shared out evenly, and none waits for a worker that cannot take it."""

import random

from hypothesis import example, given
from hypothesis import strategies as st

from tercio.core.balance import BURST, MARGIN, REST, SHARE, STICKY_GRACE, Balance, Give, Seen, Steal


def slots(*connections: int, accepted: int = 0) -> list[Seen]:
    return [Seen(n, 2 * n, load, accepted) for n, load in enumerate(connections)]


looks = st.lists(
    st.builds(
        Seen,
        slot=st.just(0),
        seat=st.none() | st.just(0),
        connections=st.integers(0, 1000),
        accepted=st.integers(0, 100),
        waiting=st.integers(0, 200),
        is_stuck=st.booleans(),
    ),
    min_size=1,
    max_size=8,
).map(
    lambda found: [
        Seen(
            number,
            None if each.seat is None else 2 * number,
            each.connections,
            each.accepted,
            0,
            each.waiting,
            each.is_stuck,
        )
        for number, each in enumerate(found)
    ]
)


def test_equal_workers_get_equal_shares() -> None:
    first, *others = Balance().weights(slots(10, 10, 10))
    assert first > 0
    assert others == [first, first]


def test_who_has_fewer_connections_gets_more_of_the_next() -> None:
    weights = Balance().weights(slots(50, 48, 53, 50))
    assert weights[1] > weights[0] == weights[3] > weights[2]


def test_a_worker_far_above_the_others_gets_none() -> None:
    assert Balance().weights(slots(10, 200, 10))[1] == 0


def test_many_arrivals_make_small_differences_small() -> None:
    """With thousands a second, two connections more are no reason to starve a worker for a look."""
    balance = Balance()
    balance.weights(slots(16, 17, 15, 16, accepted=0))
    weights = balance.weights(slots(16, 17, 15, 16, accepted=100))
    assert min(weights) > 0.9 * max(weights)


@given(looks)
def test_only_workers_that_can_take_connections_get_any(seen: list[Seen]) -> None:
    weights = Balance().weights(seen)
    assert sum(weights) > 0
    if any(slot.is_open for slot in seen):
        assert all(not weight or seen[n].is_open for n, weight in enumerate(weights))
    elif any(slot.seat is not None for slot in seen):
        assert all(not weight or seen[n].seat is not None for n, weight in enumerate(weights))


@given(looks)
def test_every_slot_has_a_home_that_serves(seen: list[Seen]) -> None:
    homes = Balance().homes(seen)
    if any(slot.seat is not None for slot in seen):
        assert all(seen[home].seat is not None for home in homes)
    assert all(homes[n] == n for n, slot in enumerate(seen) if slot.seat is not None)


def test_a_queue_that_moves_is_left_alone() -> None:
    balance = Balance()
    for now in range(5):
        busy = [Seen(0, 0, accepted=10 * now, waiting=5), Seen(1, 2)]
        assert balance.steals(busy, float(now)) == []


def test_a_queue_that_nobody_took_from_since_the_last_look_is_emptied_by_the_least_loaded() -> None:
    balance = Balance()
    seen = [Seen(0, 0, waiting=5), Seen(1, 2, connections=7), Seen(2, 4, connections=3)]
    assert balance.steals(seen, 0.0) == []
    assert balance.steals(seen, 0.02) == [Steal(seat=4, slot=0, count=5)]
    assert balance.ages(0.02) == {0: 0.02}


def test_the_queue_of_a_worker_that_is_stuck_or_gone_is_emptied_at_once() -> None:
    stuck = [Seen(0, 0, waiting=3, is_stuck=True), Seen(1, None, waiting=2), Seen(2, 4)]
    orders = Balance().steals(stuck, 0.0)
    assert orders == [Steal(4, 0, 3), Steal(4, 1, 2)]


def test_who_has_nothing_to_do_steals_first() -> None:
    balance = Balance()
    seen = [
        Seen(0, 0, waiting=2),
        Seen(1, 2, connections=1, in_flight=1),
        Seen(2, 4, connections=3),
    ]
    assert balance.steals(seen, 0.0) == []
    assert balance.steals(seen, 0.02) == [Steal(seat=4, slot=0, count=2)]


def test_who_lets_its_queue_grow_old_gets_nothing_and_takes_nothing() -> None:
    balance = Balance()
    seen = [Seen(0, 0, waiting=1), Seen(1, 2, waiting=1), Seen(2, 4, connections=5)]
    balance.steals(seen, 0.0)
    assert [order.seat for order in balance.steals(seen, 0.02)] == [4, 4]
    assert balance.weights(seen)[:2] == [0, 0]
    fresh = [Seen(0, 0, accepted=1), Seen(1, 2, waiting=1), Seen(2, 4, connections=5)]
    balance.steals(fresh, 0.04)
    first, second, third = balance.weights(fresh)
    assert first > third
    assert second == 0


def test_nobody_steals_while_nobody_can() -> None:
    stuck = [Seen(0, 0, waiting=3, is_stuck=True), Seen(1, 2, is_stuck=True)]
    assert Balance().steals(stuck, 0.0) == []


def test_clients_that_belong_to_a_worker_wait_for_it_for_a_while() -> None:
    balance = Balance(is_sticky=True)
    stuck = [Seen(0, 0, waiting=3, is_stuck=True), Seen(1, 2)]
    assert balance.steals(stuck, 0.0) == []
    assert balance.steals(stuck, STICKY_GRACE / 2) == []
    assert balance.steals(stuck, STICKY_GRACE) == [Steal(2, 0, 3)]
    gone = [Seen(0, None, waiting=3), Seen(1, 2)]
    assert Balance(is_sticky=True).steals(gone, 0.0) == [Steal(2, 0, 3)]


@given(st.lists(looks, min_size=1, max_size=5))
def test_only_open_workers_steal_and_never_more_than_waits(rounds: list[list[Seen]]) -> None:
    balance = Balance()
    for now, seen in enumerate(rounds):
        for order in balance.steals(seen, float(now)):
            assert 0 < order.count <= seen[order.slot].waiting
            thief = next(slot for slot in seen if slot.seat == order.seat)
            assert thief.is_open
            assert thief.slot != order.slot


def test_small_differences_move_nothing() -> None:
    assert Balance().gives(slots(50, 52, 48, 50), 0.0) == []
    assert Balance().gives(slots(1, 0, 2, 1), 0.0) == []


def test_a_worker_without_connections_gets_its_share() -> None:
    orders = Balance().gives(slots(20, 20, 20, 0), 0.0)
    assert {order.to for order in orders} == {6}
    assert sum(order.count for order in orders) == 15


def test_who_had_nothing_to_give_is_left_alone_for_a_while() -> None:
    balance = Balance()
    seen = slots(40, 0)
    assert balance.gives(seen, 0.0) == [Give(0, 2, 20)]
    assert balance.gives(seen, 0.5) == []
    assert balance.gives(seen, 0.5 + REST) == [Give(0, 2, 20)]
    assert balance.gives(seen, 1.0 + REST) == []
    assert balance.gives(seen, 1.0 + 2 * REST) == []
    assert balance.gives(seen, 1.0 + 3 * REST) == [Give(0, 2, 20)]


@given(looks)
def test_gives_only_level_and_never_overshoot(seen: list[Seen]) -> None:
    able = [slot for slot in seen if slot.is_open]
    after = {slot.seat: slot.connections for slot in able}
    average = sum(after.values()) / len(after) if after else 0.0
    for order in Balance().gives(seen, 0.0):
        after[order.seat] -= order.count
        after[order.to] += order.count
        assert after[order.seat] >= int(average)
        assert after[order.to] <= average + 1
    assert sum(after.values()) == sum(slot.connections for slot in able)


@given(st.lists(st.integers(0, 2000), min_size=2, max_size=8))
@example([0, 0, 0, 21])  # shares of 5 and 6: three sixes leave one worker with three
def test_orders_that_are_followed_make_all_even(loads: list[int]) -> None:
    balance, given_by = Balance(), [0] * len(loads)
    for now in range(40):
        seen = [Seen(n, 2 * n, connections=load, given=given_by[n]) for n, load in enumerate(loads)]
        orders = balance.gives(seen, float(now))
        if not orders:
            break
        for order in orders:
            loads[order.seat // 2] -= order.count
            loads[order.to // 2] += order.count
            given_by[order.seat // 2] += order.count
    average = sum(loads) / len(loads)
    assert max(abs(load - average) for load in loads) <= max(MARGIN, SHARE * average)


def test_200_connections_end_up_even_at_any_rate_of_arrival() -> None:
    draw = random.Random(5)
    for per_look in (1, 4, 20, 50, 200):
        balance, loads, accepted = Balance(), [0] * 4, [0] * 4
        for _ in range(200 // per_look):
            seen = [Seen(n, 2 * n, loads[n], accepted[n]) for n in range(4)]
            for slot in draw.choices(range(4), balance.weights(seen), k=per_look):
                loads[slot] += 1
                accepted[slot] += 1
        for order in balance.gives([Seen(n, 2 * n, loads[n]) for n in range(4)], 0.0):
            loads[order.seat // 2] -= order.count
            loads[order.to // 2] += order.count
        assert all(45 <= load <= 55 for load in loads), (per_look, loads)


def test_a_burst_is_not_sent_to_one_worker_alone() -> None:
    weights = Balance().weights(slots(3, 2, 2, 3))
    assert all(weights)
    assert sum(weights) >= BURST
