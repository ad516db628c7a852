"""Large messages: they lie beside the rings, within bounds, and their memory comes back."""

import os
import sys
import time

import pytest

from tercio.dataplane import parcels
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tercio.errors import MessageTooLarge
from tests.dataplane.rings import Basket, publish, read


def memory_of(rings: Rings) -> int:
    assert rings.parcels is not None
    return os.fstat(rings.parcels.descriptor).st_blocks * 512


def test_a_large_message_is_read_from_the_parcels(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    large = os.urandom(5 << 20)
    publish(writer, b"before", large, b"after")
    assert read(reader).bodies == [b"before", large, b"after"]


def test_a_message_beyond_the_limit_is_refused_and_nothing_is_sent(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    writer.add(b"t", b"before")
    with pytest.raises(MessageTooLarge, match="67108865 bytes: the limit is 67108864"):
        writer.add(b"t", bytes(parcels.LIMIT + 1))
    writer.flush()
    basket = read(reader)
    assert basket.bodies == [b"before"]
    assert not basket.losses


def test_what_a_publisher_holds_is_bounded_and_what_it_let_go_is_counted(rings: Rings) -> None:
    reader, writer = RingReader(rings, 1), RingWriter(rings, 0)
    before = memory_of(rings)
    for number in range(12):
        publish(writer, bytes([number]) * (16 << 20))
    assert memory_of(rings) - before <= parcels.SPAN
    basket = Basket()
    read(reader, basket)
    assert [body[0] for body in basket.bodies] == list(range(4, 12))
    assert (basket.lost_count, reader.lost) == (4, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can give it back")
def test_memory_comes_back_in_time_also_after_a_death(rings: Rings) -> None:
    assert rings.parcels is not None
    rings.parcels.hold = 0.0
    writer = RingWriter(rings, 0)
    before = memory_of(rings)
    publish(writer, bytes(8 << 20))
    assert writer.parcels is not None
    assert memory_of(rings) >= before + (8 << 20)
    writer.parcels.expire()
    assert memory_of(rings) == before
    publish(writer, bytes(8 << 20))
    rings.release(0)  # it was killed
    rings.tidy()
    assert memory_of(rings) == before


def test_the_dead_publishers_large_message_can_still_be_read(rings: Rings) -> None:
    reader = RingReader(rings, 1)
    large = os.urandom(1 << 20)
    publish(RingWriter(rings, 0), large)
    rings.release(0)
    rings.tidy()
    second = RingWriter(rings, 0)
    publish(second, large[::-1])
    assert read(reader).bodies == [large, large[::-1]]
    assert second.parcels is not None
    expiry = second.parcels.next_expiry
    assert expiry is not None
    assert expiry <= time.monotonic() + parcels.HOLD
