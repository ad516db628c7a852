"""Redis for the suite of `tests/bus`: several processes of one host, and one on each of several."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tercio.bus.engine import BusEngine, Routes
from tercio.engines.local.bus import Hub, LocalBus
from tercio.engines.redis.bus import RedisBus
from tercio.engines.redis.url import Address
from tests.engines.redis.valkey import Valkey

MakeEngine = Callable[[], Awaitable[BusEngine]]

HOST = b"one host"


class Nobody:
    """A receiver that wants nothing."""

    routes: Routes = {}
    own_routes: Routes = {}
    wants_own = False

    def lost(self, count: int, sender: int) -> None:
        pass


async def connected(bus: RedisBus) -> RedisBus:
    """The same, when it has its connections: what is published before is not received."""
    bus.start(Nobody())
    while not bus.readiness.is_up or (bus.is_bridge and not bus.bridge_readiness.is_up):
        await asyncio.sleep(0.001)
    bus.stop_receiving()
    return bus


@asynccontextmanager
async def server_of_a_test() -> AsyncIterator[Valkey]:
    with tempfile.TemporaryDirectory() as directory:
        server = await asyncio.to_thread(Valkey, Path(directory))
        try:
            yield server
        finally:
            await asyncio.to_thread(server.kill)


@asynccontextmanager
async def one_host() -> AsyncIterator[MakeEngine]:
    hub, numbers = Hub(), itertools.count()
    async with server_of_a_test() as server:
        address = Address.parse(server.url)

        async def make() -> BusEngine:
            is_bridge = next(numbers) == 0
            bus = RedisBus(address, local=LocalBus(hub), is_bridge=is_bridge, host=HOST)
            return await connected(bus)

        yield make


@asynccontextmanager
async def several_hosts() -> AsyncIterator[MakeEngine]:
    async with server_of_a_test() as server:
        address = Address.parse(server.url)

        async def make() -> BusEngine:
            return await connected(RedisBus(address, local=LocalBus()))

        yield make
