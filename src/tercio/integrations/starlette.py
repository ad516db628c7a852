"""Lifespan state of Starlette, FastAPI and Litestar: ``request.state.cluster``.

app = Starlette(routes=…, lifespan=lifespan)
app = FastAPI(lifespan=with_cluster(my_lifespan))
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tercio import cluster

KEY = "cluster"
"""Under which the lifespan's state has it."""

_Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[Mapping[str, Any]]:
    """A lifespan for an application that has none of its own."""
    yield {KEY: cluster}


def with_cluster(own: _Lifespan) -> _Lifespan:
    """An application's own lifespan, with the cluster added to what it yields."""

    @asynccontextmanager
    async def both(app: object) -> AsyncIterator[Mapping[str, Any]]:
        async with own(app) as state:
            yield {KEY: cluster, **(state or {})}

    return both
