"""One suite for every engine of the bus.

An engine takes part by an entry in `ENGINES`: an asynchronous context manager that gives a factory.
Each call of the factory is one more process of the same cluster.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import pytest

from tercio.bus.bus import Bus
from tercio.bus.engine import BusEngine
from tercio.bus.subscription import Subscription
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.bus import EmbeddedBus
from tercio.engines.local.bus import Hub, LocalBus
from tests.engines.redis import buses

PATIENCE = 30.0  # seconds; a slow machine makes a test longer, never red

MakeEngine = Callable[[], Awaitable[BusEngine]]
MakeBus = Callable[[], Awaitable[Bus]]
T = TypeVar("T")


@asynccontextmanager
async def _local() -> AsyncIterator[MakeEngine]:
    hub = Hub()

    async def make() -> BusEngine:
        return LocalBus(hub)

    yield make


def _embedded(*, careful: bool | None) -> Callable[[], AbstractAsyncContextManager[MakeEngine]]:
    @asynccontextmanager
    async def open_rings() -> AsyncIterator[MakeEngine]:
        rings = Rings.create(8, 1 << 20, careful=careful)
        seats = iter(range(8))

        async def make() -> BusEngine:
            return EmbeddedBus(rings, next(seats))

        yield make
        rings.close()

    return open_rings


ENGINES: dict[str, Callable[[], AbstractAsyncContextManager[MakeEngine]]] = {
    "local": _local,
    "embedded": _embedded(careful=None),
    "embedded, second way": _embedded(careful=True),
    "redis, one host": buses.one_host,
    "redis, several hosts": buses.several_hosts,
}

HOLDS_UP = {"local", "embedded", "embedded, second way", "redis, one host"}
"""Engines that can hold publishers up for the policy "block"."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make_bus(engine_name: str) -> AsyncIterator[MakeBus]:
    """Makes the bus of one more process of the same cluster."""
    made: list[Bus] = []
    async with ENGINES[engine_name]() as make_engine:

        async def make() -> Bus:
            made.append(Bus(await make_engine()))
            return made[-1]

        yield make
        for bus in made:
            bus.close()


async def take(subscription: Subscription[T], count: int) -> list[T]:
    """The next messages."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(subscription) for _ in range(count)]


class Ear:
    """A callback that keeps what it hears. In one loop."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self._came = asyncio.Event()

    def __call__(self, topic: str, message: object) -> None:
        self.heard.append((topic, message))
        self._came.set()

    @property
    def messages(self) -> list[object]:
        return [message for _, message in self.heard]

    async def hear(self, count: int) -> None:
        """Return when that many messages have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.heard) < count:
                self._came.clear()
                await self._came.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that only shows by looking."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)
