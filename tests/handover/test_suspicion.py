"""A loop is suspected for the time that a witness can swear to."""

import pytest

from tercio.handover.suspicion import LATE, Suspicion

NAP = 0.02


class World:
    """A loop in one step, a thread of it, and a witness that looks every `NAP`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 7.0
        self.step = object()
        self.suspicion = Suspicion(0.05)
        self.suspicion.begin(self.step, self.now, self.used)

    def look(self, *, late: float = 0.0, ran: float = 0.0, is_asleep: bool = True) -> bool:
        due = self.now + NAP
        self.now = due + late
        self.used += ran
        return self.suspicion.look(self.step, self.now, due, self.used, is_asleep)


def test_who_sleeps_for_long_is_blocked() -> None:
    world = World()
    assert [world.look() for _ in range(4)] == [False, False, True, True]


def test_who_computes_for_long_is_blocked() -> None:
    world = World()
    looks = [world.look(late=0.005, ran=0.026, is_asleep=False) for _ in range(3)]
    assert looks == [False, True, True]


def test_what_was_computed_needs_no_witness() -> None:
    world = World()
    looks = [world.look(late=0.1, ran=0.02, is_asleep=False) for _ in range(4)]
    assert looks == [False, False, True, True]


def test_who_waits_for_a_processor_is_not_blocked() -> None:
    world = World()
    assert not any(world.look(ran=0.001, is_asleep=False) for _ in range(40))


def test_half_a_processor_makes_suspicion_half_as_fast() -> None:
    world = World()
    looks = [world.look(ran=NAP * (n % 2), is_asleep=False) for n in range(10)]
    assert looks.index(True) >= 5


def test_another_step_is_another_suspicion() -> None:
    world = World()
    for _ in range(20):
        assert not world.look()
        assert not world.look()
        world.step = object()
        assert not world.look()


@pytest.mark.parametrize("late", [LATE + 0.001, 0.05, 3600.0])
def test_who_was_late_has_seen_nothing(late: float) -> None:
    world = World()
    assert not any(world.look(late=late) for _ in range(20))
    # And one look that happens to be on time does not make up for it.
    assert not world.look()
    assert not any(world.look(late=late * (n % 2)) for n in range(20))


def test_a_pause_in_between_starts_over() -> None:
    world = World()
    assert not world.look()
    assert not world.look(late=10.0)
    assert [world.look() for _ in range(2)] == [False, True]
    assert world.suspicion.witnessed == pytest.approx(3 * NAP)
