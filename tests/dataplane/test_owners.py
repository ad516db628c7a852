"""A table of who serves which session, in memory that workers share and nobody locks."""

import os
import random

import pytest

from tercio.core.affinity import fingerprint
from tercio.dataplane.owners import Owners
from tercio.dataplane.segment import Segment


def alive(worker: tuple[int, int]) -> bool:
    return True


def key(number: int) -> int:
    return fingerprint(b"session-%d" % number, b"secret")


def test_what_was_put_is_found_in_every_mapping() -> None:
    one = Owners.create()
    other = Owners.attach(one.descriptor)
    one.put(key(1), (1023, 2**31 - 1), alive)
    one.put(key(2), (0, 1), alive)
    assert other.find(key(1)) == (1023, 2**31 - 1)
    assert other.find(key(2)) == (0, 1)
    assert other.find(key(3)) is None
    other.put(key(2), (5, 6), alive)
    assert one.find(key(2)) == (5, 6)


def test_tens_of_thousands_of_sessions_are_remembered() -> None:
    owners = Owners.create()
    for number in range(50_000):
        owners.put(key(number), (number % 8, number + 1), alive)
    found = sum(owners.find(key(n)) == (n % 8, n + 1) for n in range(50_000))
    assert found > 49_500  # a row of four is full, or two look alike, once in some hundred


def test_sessions_of_workers_that_are_gone_make_room_for_others() -> None:
    owners = Owners.create()
    same_row = [7 + (n << 16) for n in range(5)]
    for number, each in enumerate(same_row[:4]):
        owners.put(each, (number, 1), alive)
    owners.put(same_row[4], (9, 9), lambda worker: worker != (2, 1))
    assert owners.find(same_row[4]) == (9, 9)
    assert owners.find(same_row[2]) is None
    assert [owners.find(same_row[n]) for n in (0, 1, 3)] == [(0, 1), (1, 1), (3, 1)]


def test_a_full_row_forgets_one_and_no_more() -> None:
    owners = Owners.create()
    draw = random.Random(3)
    same_row = [7 + (draw.getrandbits(48) << 16) for _ in range(6)]
    for number, each in enumerate(same_row):
        owners.put(each, (number, 1), alive)
        assert owners.find(each) == (number, 1)
    assert sum(owners.find(each) is not None for each in same_row) == 4


def test_memory_of_another_size_is_refused() -> None:
    with Segment.create("another", 4096) as other, pytest.raises(ValueError, match="not a table"):
        Owners.attach(os.dup(other.descriptor))
