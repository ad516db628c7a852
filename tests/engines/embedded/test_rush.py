"""When a reader looks by the clock instead of being woken for each message."""

import time

from tercio.engines.embedded.rush import PAUSE, Rush

CAPACITY = 1 << 20
NEVER_SLOW = 100_000  # counts; a slow machine needs a few more of them


def heads(position: int) -> "memoryview[int]":
    return memoryview(position.to_bytes(8, "little") * 2).cast("Q")


def test_who_is_woken_all_the_time_is_in_a_rush() -> None:
    rush = Rush(CAPACITY)
    assert not rush.is_on(heads(0))
    assert any(rush.is_on(heads(0)) for _ in range(NEVER_SLOW))


def test_who_is_woken_now_and_then_is_in_none() -> None:
    rush = Rush(CAPACITY)
    for _ in range(64):
        assert not rush.is_on(heads(0))
        time.sleep(PAUSE / 8)  # not a wait: how often it is woken is the test


def test_nobody_pauses_while_rings_fill_fast() -> None:
    rush = Rush(CAPACITY)
    assert not any(rush.is_on(heads(step * CAPACITY // 64)) for step in range(10_000))
