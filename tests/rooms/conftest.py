"""Rooms of several workers, over each engine of the bus and one state."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from tercio.bus.bus import Bus
from tercio.engines.local.state import LocalState
from tercio.metrics.metrics import LocalMetrics
from tercio.rooms import Rooms
from tercio.state.state import State
from tests.bus.conftest import ENGINES


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Workers:
    """Rooms, each of another process."""

    rooms: list[Rooms]
    metrics: list[LocalMetrics] = field(default_factory=list)

    async def settle(self) -> None:
        """Return when what all of them sent has come to all."""
        for sender in self.rooms:
            await sender._bus.flush(10)


@pytest.fixture(params=["local", "embedded", "redis, several hosts"])
async def workers(request: pytest.FixtureRequest) -> AsyncIterator[Workers]:
    """Three of them."""
    state = LocalState()
    async with ENGINES[request.param]() as make:
        buses = [Bus(await make()) for _ in range(3)]
        metrics = [LocalMetrics() for _ in buses]
        rooms = [
            Rooms(bus, State(state), metric) for bus, metric in zip(buses, metrics, strict=True)
        ]
        yield Workers(rooms, metrics)
        for each in rooms:
            await each.leave_all()
        for bus in buses:
            bus.close()


Until = Callable[[Callable[[], bool]], None]
