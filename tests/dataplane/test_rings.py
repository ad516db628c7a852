"""Rings within one process: order, loss, wrapping round, broken writers, wake-ups."""

import os
import struct
from contextlib import suppress

import pytest

from tercio.dataplane import parcels as parcels
from tercio.dataplane.frames import HEADER, RUN
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings, orders_stores
from tests.dataplane.rings import (
    CAPACITY,
    NEVER,
    Basket,
    Killed,
    Meanwhile,
    Watched,
    is_readable,
    publish,
    read,
)


def test_messages_come_in_order_with_their_topics(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    for number in range(1000):
        writer.add(b"t%d" % (number % 3), b"%d" % number)
    writer.flush()
    assert read(reader).found == [(b"t%d" % (n % 3), b"%d" % n) for n in range(1000)]


def test_a_ring_is_used_round_and_round(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    basket = Basket()
    sent = []
    for number in range(300):
        body = bytes([number % 256]) * (number * 97 % 30_000)
        sent.append(body)
        publish(writer, body)
        read(reader, basket)
    assert basket.bodies == sent
    assert writer.head > 20 * CAPACITY
    assert not basket.losses


def test_a_lapped_reader_goes_on_with_recent_messages_and_knows_how_many_it_lost(
    rings: Rings,
) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    for number in range(3000):
        publish(writer, struct.pack("=I", number) + bytes(300))
    basket = read(reader)
    first = struct.unpack_from("=I", basket.bodies[0])[0]
    assert basket.lost_count == first == reader.lost
    assert len(basket.found) == 3000 - first
    assert len(basket.found) * 350 > CAPACITY / 2  # what was still there was not thrown away
    assert [struct.unpack_from("=I", body)[0] for body in basket.bodies] == list(range(first, 3000))


def test_a_reader_in_the_middle_of_a_store_never_gets_what_is_overwritten(rings: Rings) -> None:
    """It is almost a ring behind when the writer comes round, and looks at each of its stores."""
    for store in range(1, 12):
        reader = RingReader(rings, 1)
        filler = RingWriter(rings, 0)
        for _ in range(5):
            publish(filler, bytes(24_000))
        basket = Basket()

        def look(number: int, store: int = store, reader: RingReader = reader) -> None:
            if number == store:
                reader.drain(basket, NEVER)  # noqa: B023

        publish(RingWriter(Watched(rings, 0, look).as_rings(), 0), b"\xff" * 24_000)
        for body in read(reader, basket).bodies:
            assert body in (bytes(24_000), b"\xff" * 24_000)
        assert len(basket.found) + basket.lost_count == 6


class LoweringWriter(RingWriter):
    """A mutant: it takes the bytes behind its head for free, whatever the one before left there."""

    def __init__(self, rings: Rings, seat: int) -> None:
        super().__init__(rings, seat)
        rings.words[rings.reserves + seat] = self._reserve = self.head


@pytest.mark.parametrize(("successor", "is_safe"), [(RingWriter, True), (LoweringWriter, False)])
def test_what_a_dead_writer_has_half_overwritten_is_not_read(
    successor: type[RingWriter], is_safe: bool
) -> None:
    rings = Rings.create(2, CAPACITY, careful=False)
    corrupt = 0
    for store in range(1, 10):
        reader = RingReader(rings, 1)
        filler = RingWriter(rings, 0)
        for _ in range(5):
            publish(filler, bytes(24_000))

        def die(number: int, store: int = store) -> None:
            if number == store:
                raise Killed

        dying = RingWriter(Watched(rings, 0, die).as_rings(), 0)
        with suppress(Killed):
            publish(dying, b"\xff" * 24_000)
        rings.release(0)
        publish(successor(rings, 0), b"next")
        whole = (bytes(24_000), b"\xff" * 24_000, b"next")
        basket = read(reader)
        corrupt += reader.bad + sum(body not in whole for body in basket.bodies)
    assert (corrupt == 0) == is_safe
    rings.close()


def test_a_loss_shows_even_if_nothing_comes_after_it(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    publish(writer, *[bytes(30_000)] * 20)
    basket = read(reader)
    assert len(basket.found) + basket.lost_count == 20


def test_one_batch_never_fills_the_ring(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    for number in range(200):
        writer.add(b"t", b"%d" % number)
        writer.add(b"t", bytes(20_000 if number % 10 == 0 else 0))
    writer.flush()
    basket = read(reader)
    assert basket.bodies[-2] == b"199"
    assert len(basket.found) + basket.lost_count == 400


def test_the_next_holder_of_a_seat_goes_on_where_the_last_one_ended(rings: Rings) -> None:
    reader = RingReader(rings, 1)
    publish(RingWriter(rings, 0), b"a", b"b")
    rings.release(0)
    publish(RingWriter(rings, 0), b"c")
    basket = read(reader)
    assert basket.bodies == [b"a", b"b", b"c"]
    assert not basket.losses


def test_own_messages_are_passed_over_for_who_does_not_want_them(rings: Rings) -> None:
    reader, writer, other = RingReader(rings, 0), RingWriter(rings, 0), RingWriter(rings, 1)
    basket = Basket(wants_own=False)
    publish(writer, b"mine")
    publish(other, b"theirs")
    read(reader, basket)
    assert basket.bodies == [b"theirs"]
    basket.wants_own = True
    publish(writer, b"mine, later")
    read(reader, basket)
    assert basket.bodies == [b"theirs", b"mine, later"]
    assert not basket.losses


def test_a_drain_stops_when_its_time_is_up_and_goes_on_where_it_stopped(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    publish(writer, *[b"%d" % n for n in range(100)])
    basket = Basket()
    turns = 0
    while reader.drain(basket, until=0.0):  # long over
        turns += 1
        assert len(basket.found) <= 16 * (turns + 1)
    assert turns >= 5
    assert basket.bodies == [b"%d" % n for n in range(100)]


def test_empty_bodies_at_the_end_are_not_forgotten(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    publish(writer, *[b""] * 50)
    basket = Basket()
    while reader.drain(basket, until=0.0) or reader.has_more(basket):
        pass
    publish(writer, b"x")
    assert read(reader, basket).bodies == [b""] * 50 + [b"x"]


def test_a_receiver_that_raises_loses_its_message_only(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    basket = Basket()

    def fail(body: bytes) -> None:
        raise ZeroDivisionError

    basket.routes[b"bad"] = fail
    for topic in (b"good", b"bad", b"good"):
        writer.add(topic, b"x")
    writer.flush()
    with pytest.raises(ZeroDivisionError):
        reader.drain(basket, NEVER)
    read(reader, basket)
    assert [topic for topic, _ in basket.found] == [b"good", b"good"]


# Broken writers


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff" * 40,
        os.urandom(400),
        HEADER.pack(0, 0, 0, 0, 0),
        HEADER.pack(0, 1 << 63, 8, 1, 0) + bytes(8),
        HEADER.pack(0, 0, 1 << 31, 1, 0) + bytes(50),
        HEADER.pack(0, 0, 20, 9999, 0) + bytes(20),
        HEADER.pack(0, 0, 12, 2, 0) + RUN.pack(100, 0, 0) + bytes(6),
        HEADER.pack(0, 0, 7, 1, 0) + RUN.pack(4 << 20, 255, 255) + b"x",
        HEADER.pack(0, 0, 9, 1, 0) + RUN.pack(1, 2, 2) + b"abc",  # a parcel that is none
    ],
)
def test_a_broken_writer_stops_nobody(rings: Rings, garbage: bytes) -> None:
    reader = RingReader(rings, 1)
    rings.data[0][: len(garbage)] = garbage
    rings.words[rings.reserves] = rings.words[rings.heads] = len(garbage) or 10
    publish(RingWriter(rings, 2), b"an honest one")
    basket = read(reader)
    assert basket.bodies == [b"an honest one"]
    assert reader.bad + reader.lost >= 1
    rings.words[rings.sequences] = 1
    publish(RingWriter(rings, 0), b"the next holder")
    assert read(reader, basket).bodies == [b"an honest one", b"the next holder"]


@pytest.mark.parametrize("head", [1, (1 << 64) - 1, 1 << 62, CAPACITY * 3])
def test_control_words_without_sense_stop_nobody(rings: Rings, head: int) -> None:
    publish(RingWriter(rings, 0), bytes(100))
    reader = RingReader(rings, 1)
    basket = Basket()
    rings.words[rings.heads] = head
    for _ in range(200):
        reader.drain(basket, NEVER)
    rings.release(0)
    publish(RingWriter(rings, 0), b"the next holder")
    publish(RingWriter(rings, 2), b"an honest one")
    read(reader, basket)
    assert b"an honest one" in basket.bodies
    publish(RingWriter(rings, 0), b"and again")
    assert read(reader, basket).bodies[-1] == b"and again"


def test_chance_in_a_ring_never_raises(rings: Rings) -> None:
    reader = RingReader(rings, 1)
    basket = Basket()
    for _ in range(300):
        rings.data[0][:4096] = os.urandom(4096)
        rings.words[rings.heads] += 1 + os.urandom(1)[0] * 8
        rings.words[rings.reserves] = rings.words[rings.heads]
        reader.drain(basket, NEVER)
    publish(RingWriter(rings, 2), b"an honest one")
    assert b"an honest one" in read(reader, basket).bodies


# Waking


def test_who_sleeps_is_woken_once(rings: Rings) -> None:
    writer = RingWriter(rings, 0)
    rings.asleep[1] = 1
    publish(writer, b"a")
    assert is_readable(rings.wakes.fileno(1))
    assert not is_readable(rings.wakes.fileno(2))
    rings.wakes.clear(1)
    publish(writer, b"b")
    assert not is_readable(rings.wakes.fileno(1))


def test_wake_ups_that_nobody_takes_hold_nobody_up(rings: Rings) -> None:
    for _ in range(20_000):
        rings.wakes.wake(3)
    assert is_readable(rings.wakes.fileno(3))


def test_the_way_is_chosen_by_the_machine() -> None:
    made = Rings.create(2, CAPACITY)
    assert made.is_careful != orders_stores()
    made.close()


def test_a_reader_that_begins_while_somebody_publishes_has_lost_nothing(rings: Rings) -> None:
    """What is published between its looks was taken for lost."""
    writer = RingWriter(rings, 0)
    publish(writer, b"long before")
    seen = Meanwhile(rings, lambda: publish(writer, b"meanwhile", b"and this"))
    reader = RingReader(seen.as_rings(), 1)
    publish(writer, b"after")
    basket = read(reader)
    assert basket.bodies[-1:] == [b"after"]
    assert basket.losses == []
