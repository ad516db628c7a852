"""Who waits for an item in another process hears of it, and looks when notices were lost."""

import asyncio

import pytest

from tercio.bus.bus import Bus
from tercio.cluster.notices import Notices
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.bus import EmbeddedBus

PATIENCE = 30.0
NEVER = 3600.0

RING = 1 << 16


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_who_waits_looks_when_notices_were_lost() -> None:
    rings = Rings.create(2, RING)
    here, there = Bus(EmbeddedBus(rings, 0)), Bus(EmbeddedBus(rings, 1))
    try:
        watch = Notices(here).watch(b"q::mine")
        waiting = asyncio.create_task(watch.wait(NEVER))
        await asyncio.sleep(0)
        notices = Notices(there)
        notices.notify(b"q::mine")
        # All in one turn of the loop: the one who waits reads nothing meanwhile.
        for _ in range(3 * RING // 100):
            notices.notify(b"q::somebody's".ljust(100))
        await asyncio.wait_for(waiting, PATIENCE)
    finally:
        here.close()
        there.close()
        rings.close()
