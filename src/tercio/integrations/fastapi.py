"""Dependencies of FastAPI: a path operation says which parts of the cluster it uses.

    @app.post("/orders")
    async def order(state: State, bus: Bus) -> int: ...

They are ``cluster.state``, ``cluster.bus`` and so on, no others; what they add is that a test can
put something else in their place (``app.dependency_overrides[state] = …``). ``Sync`` is for
functions without ``async``, which FastAPI runs in threads.
"""

from typing import Annotated

from fastapi import Depends

from tercio import cluster
from tercio.bus.bus import Bus as _Bus
from tercio.cluster.twins import Twins
from tercio.metrics.metrics import Metrics as _Metrics
from tercio.offload.offload import Offload as _Offload
from tercio.rooms import Rooms as _Rooms
from tercio.state.state import State as _State

# Coroutines on purpose: FastAPI calls others in threads.


async def state() -> _State:
    """What ``State`` depends on."""
    return cluster.state


async def bus() -> _Bus:
    """What ``Bus`` depends on."""
    return cluster.bus


async def metrics() -> _Metrics:
    """What ``Metrics`` depends on."""
    return cluster.metrics


async def offload() -> _Offload:
    """What ``Offload`` depends on."""
    return cluster.offload


async def rooms() -> _Rooms:
    """What ``Rooms`` depends on."""
    return cluster.rooms


async def sync() -> Twins:
    """What ``Sync`` depends on."""
    return cluster.sync


State = Annotated[_State, Depends(state)]
Bus = Annotated[_Bus, Depends(bus)]
Metrics = Annotated[_Metrics, Depends(metrics)]
Offload = Annotated[_Offload, Depends(offload)]
Rooms = Annotated[_Rooms, Depends(rooms)]
Sync = Annotated[Twins, Depends(sync)]
