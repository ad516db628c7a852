"""Readers that are waited for: how far ahead of them a writer may be."""

from tercio.dataplane.cursors import Cursors
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tests.dataplane.rings import is_readable, publish, read


def has_room(writing: Cursors, writer: RingWriter) -> bool:
    slowest = writing.slowest()
    return slowest is None or writer.has_room(slowest)


def test_large_messages_count_for_room_too(rings: Rings) -> None:
    writer, reader = RingWriter(rings, 0), RingReader(rings, 1)
    writing, reading = Cursors(rings, 0), Cursors(rings, 1)
    reading.say(reader.done())
    sent = 0
    while has_room(writing, writer):
        publish(writer, bytes(8 << 20))
        sent += 1
        assert sent < 20
    assert rings.parcels is not None
    assert writer.parcels is not None
    rings.parcels.hold = 0.0
    writer.parcels.expire(writing.slowest())  # not what is waited for
    basket = read(reader)
    assert (len(basket.found), basket.losses) == (sent, [])
    reading.say(reader.done())
    assert has_room(writing, writer)


def test_a_writer_has_room_until_it_is_half_a_ring_ahead_of_who_is_waited_for(
    rings: Rings,
) -> None:
    writer, reader = RingWriter(rings, 0), RingReader(rings, 1)
    writing, reading = Cursors(rings, 0), Cursors(rings, 1)
    publish(writer, *[bytes(30_000)] * 10)
    assert has_room(writing, writer)
    read(reader)
    reading.say(reader.done())
    assert has_room(writing, writer)
    publish(writer, *[bytes(30_000)] * 3)
    assert not has_room(writing, writer)
    writing.ask(is_waiting=True)
    read(reader)
    reading.say(reader.done())
    assert has_room(writing, writer)
    assert is_readable(rings.wakes.fileno(0))


def test_nobody_waits_for_the_dead(rings: Rings) -> None:
    writer, writing = RingWriter(rings, 0), Cursors(rings, 0)
    Cursors(rings, 1).say([0] * 4)
    publish(writer, *[bytes(30_000)] * 3)
    writing.ask(is_waiting=True)
    assert not has_room(writing, writer)
    rings.release(1)
    assert has_room(writing, writer)
    assert is_readable(rings.wakes.fileno(0))
