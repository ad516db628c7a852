"""A model of the rings: writers that die at any store, readers that lag, seats that are held anew.

Whatever happens, a reader gets messages as they were published, in the order of their numbers, and
knows exactly how many it did not get.
"""

import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tercio.dataplane.cursors import Cursors
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tests.dataplane.rings import Basket, Killed, Watched

NEVER = float("inf")
CAPACITY = 128 << 10
SIZES = st.sampled_from([0, 100, 3000, 20_000, 31_000, 32_700, 32_760])
BATCHES = st.lists(SIZES, min_size=1, max_size=5)


def seal(name: int, size: int) -> bytes:
    """A body that shows whether it is whole."""
    body = name.to_bytes(8, "little") + bytes([name % 251]) * size
    return body + zlib.crc32(body).to_bytes(4, "little")


def name_in(body: bytes) -> int:
    assert zlib.crc32(body[:-4]).to_bytes(4, "little") == body[-4:], "corrupt"
    return int.from_bytes(body[:8], "little")


class Reading:
    """A reader with what it got. Each message is looked at when it comes."""

    def __init__(self, rings: Rings, seat: int) -> None:
        self.reader = RingReader(rings, seat)
        self.basket = Basket()
        self.began: int = rings.words[rings.sequences]
        self.seen = 0
        self.last = 0

    def read(self, until: float = NEVER) -> None:
        is_more = True
        while is_more:
            is_more = self.reader.drain(self.basket, until) or self.reader.has_more(self.basket)
            is_more &= until == NEVER
        for body in self.basket.bodies[self.seen :]:
            name = name_in(body)
            assert name > self.last, "out of order"
            self.last = name
        self.seen = len(self.basket.found)


class RingsModel(RuleBasedStateMachine):
    """Seat 0 writes, and dies now and then; seats 1 and 2 read, also in the middle of a store."""

    is_careful = False
    see: Callable[[Rings], Rings] = staticmethod(lambda rings: rings)  # what readers take for them

    def __init__(self) -> None:
        super().__init__()
        self.rings = Rings.create(3, CAPACITY, careful=self.is_careful)
        self.writer = RingWriter(self.rings, 0)
        self.readings = [Reading(self.see(self.rings), seat) for seat in (1, 2)]
        self.names = 0

    def teardown(self) -> None:
        self.rings.close()

    def add(self, writer: RingWriter, sizes: list[int]) -> None:
        for size in sizes:
            self.names += 1
            writer.add(b"t", seal(self.names, size))
        writer.flush()

    @rule(sizes=BATCHES)
    def publish(self, sizes: list[int]) -> None:
        self.add(self.writer, sizes)

    @rule(sizes=BATCHES, store=st.integers(1, 30), which=st.integers(0, 1))
    def read_while_it_writes(self, sizes: list[int], store: int, which: int) -> None:
        def read_now(number: int) -> None:
            if number == store:
                self.readings[which].read()

        self.hold_anew(Watched(self.rings, 0, read_now).as_rings())
        self.add(self.writer, sizes)
        self.hold_anew(self.rings)

    @rule(sizes=BATCHES, store=st.integers(1, 30))
    def die_while_it_writes(self, sizes: list[int], store: int) -> None:
        def die(number: int) -> None:
            if number == store:
                raise Killed

        with suppress(Killed):
            self.hold_anew(Watched(self.rings, 0, die).as_rings())
            self.add(self.writer, sizes)
        self.hold_anew(self.rings)

    def hold_anew(self, rings: Rings) -> None:
        self.rings.release(0)
        self.writer = RingWriter(rings, 0)

    @rule(which=st.integers(0, 1))
    def read(self, which: int) -> None:
        self.readings[which].read()

    @rule(which=st.integers(0, 1))
    def read_a_little(self, which: int) -> None:
        self.readings[which].read(until=0.0)

    @rule(which=st.integers(0, 1))
    def replace_a_reader(self, which: int) -> None:
        self.rings.release(which + 1)
        self.readings[which] = Reading(self.see(self.rings), which + 1)

    @rule()
    def every_number_is_accounted_for(self) -> None:
        """After one more message: it tells of those that died on the way."""
        self.publish([0])
        for reading in self.readings:
            reading.read()
            numbered = self.rings.words[self.rings.sequences] - reading.began
            assert len(reading.basket.found) + reading.basket.lost_count == numbered
            assert reading.last == self.names
            assert reading.reader.bad == 0


class CarefulRingsModel(RingsModel):
    """The second way, which must hold the same."""

    is_careful = True


class PoliteModel(RuleBasedStateMachine):
    """A writer that asks for room first. Who says how far it is loses nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = Rings.create(3, CAPACITY, careful=False)
        self.writer, self.writing = RingWriter(self.rings, 0), Cursors(self.rings, 0)
        self.names = 0
        self.readings = [Reading(self.rings, seat) for seat in (1, 2)]
        self.sayings = [Cursors(self.rings, seat) for seat in (1, 2)]
        self.saying = [False, False]

    def teardown(self) -> None:
        self.rings.close()

    def has_room(self) -> bool:
        slowest = self.writing.slowest()
        return slowest is None or self.writer.has_room(slowest)

    @rule(sizes=BATCHES)
    def publish_while_there_is_room(self, sizes: list[int]) -> None:
        for size in sizes:
            if self.has_room():
                self.names += 1
                self.writer.add(b"t", seal(self.names, size))
        self.writer.flush()

    @rule(which=st.integers(0, 1), much=st.booleans())
    def read_and_say(self, which: int, much: bool) -> None:
        self.readings[which].read(NEVER if much else 0.0)
        if self.saying[which]:
            self.say(which)

    @rule(which=st.integers(0, 1))
    def begin(self, which: int) -> None:
        self.readings[which] = Reading(self.rings, which + 1)
        self.saying[which] = True
        self.say(which)

    def say(self, which: int) -> None:
        self.sayings[which].say(self.readings[which].reader.done())

    @rule(which=st.integers(0, 1))
    def die(self, which: int) -> None:
        """Nobody waits for the dead."""
        self.rings.release(which + 1)
        self.sayings[which] = Cursors(self.rings, which + 1)
        self.saying[which] = False
        if not any(self.saying):
            assert self.has_room()

    @invariant()
    def who_is_waited_for_loses_nothing(self) -> None:
        for reading, is_saying in zip(self.readings, self.saying, strict=True):
            if is_saying:
                assert not reading.basket.losses


SHORT = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRings = RingsModel.TestCase
TestRings.settings = SHORT
TestCarefulRings = CarefulRingsModel.TestCase
TestCarefulRings.settings = SHORT
TestPolite = PoliteModel.TestCase
TestPolite.settings = SHORT


# A mutant: the model must be able to fail.


class BlindRings:
    """Rings of a reader that does not see what is being overwritten."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self.reserves = rings.heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rings, name)


class BlindModel(RingsModel):
    see = staticmethod(lambda rings: cast("Rings", BlindRings(rings)))


def test_a_reader_that_does_not_look_again_is_found_out() -> None:
    without_mercy = settings(
        max_examples=2000,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(BlindModel, settings=without_mercy)
