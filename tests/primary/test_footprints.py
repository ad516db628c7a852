"""Measuring memory holds nobody: who cannot be measured is waited for in a thread, and not long."""

import asyncio
import os
import threading

from tercio.primary.footprints import Scales
from tercio.system.memory import Footprint

OLD, NEW = Footprint(1, 1, 1), Footprint(2, 2, 2)
STUCK = 1


def test_a_process_is_weighed() -> None:
    async def weigh() -> None:
        scales = Scales(asyncio.get_running_loop())
        weighed = await scales.weigh([os.getpid()])
        footprint = weighed[os.getpid()]
        assert footprint is not None
        assert footprint.rss >= footprint.uss > 1_000_000
        assert await scales.weigh([]) == {}

    asyncio.run(weigh())


def test_one_that_cannot_be_measured_holds_no_other_and_has_its_last_size() -> None:
    held, asked = threading.Event(), []

    def read(pid: int) -> Footprint:
        asked.append(pid)
        if pid != STUCK:
            return NEW
        if len(asked) == 1:
            return OLD
        held.wait()
        return NEW

    async def weigh() -> None:
        scales = Scales(asyncio.get_running_loop(), read)
        assert await scales.weigh([STUCK]) == {STUCK: OLD}
        others = range(10, 30)
        late = {STUCK: OLD, **dict.fromkeys(others, NEW)}
        assert await scales.weigh([STUCK, *others], 0.5) == late
        assert await scales.weigh([STUCK], 0.01) == {STUCK: OLD}
        assert asked.count(STUCK) == 2, "it was asked again while it had not answered"
        held.set()
        assert await scales.weigh([STUCK]) == {STUCK: NEW}

    try:
        asyncio.run(weigh())
    finally:
        held.set()


def test_what_may_be_old_is_not_measured_anew() -> None:
    asked = []

    def read(pid: int) -> Footprint:
        asked.append(pid)
        return NEW

    async def weigh() -> None:
        scales = Scales(asyncio.get_running_loop(), read)
        assert await scales.weigh([1, 2], oldest=3600) == {1: NEW, 2: NEW}
        assert await scales.weigh([1, 2, 3], oldest=3600) == {1: NEW, 2: NEW, 3: NEW}
        assert sorted(asked) == [1, 2, 3]
        await scales.weigh([1, 2, 3])
        assert sorted(asked) == [1, 1, 2, 2, 3, 3]

    asyncio.run(weigh())


def test_a_measurement_that_fails_is_no_measurement_and_can_be_made_again() -> None:
    answers = iter([True, False])

    def read(pid: int) -> Footprint:
        if next(answers):
            raise ValueError("the kernel said something new")
        return NEW

    async def weigh() -> None:
        scales = Scales(asyncio.get_running_loop(), read)
        assert await scales.weigh([STUCK], patience=30) == {STUCK: None}
        assert await scales.weigh([STUCK], patience=30) == {STUCK: NEW}

    asyncio.run(weigh())
