"""Dependencies and lifespan state of FastAPI, in several workers and in a test's own process."""

import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from tercio import cluster
from tercio.integrations import fastapi as doors
from tercio.integrations.starlette import lifespan, with_cluster
from tercio.testing import workers

APP = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from tercio.integrations.fastapi import Bus, Metrics, Offload, Rooms, State, Sync
from tercio.integrations.starlette import with_cluster


@asynccontextmanager
async def own(app):
    yield {"mine": 7}


app = FastAPI(lifespan=with_cluster(own))


@app.get("/visit")
async def visit(state: State, bus: Bus, metrics: Metrics, rooms: Rooms, request: Request):
    metrics.counter("visits").inc()
    bus.publish("visits", 1)
    here = await rooms.count("nobody")
    worker = request.state.cluster.worker.id
    return [await state.incr("visits"), worker, here, request.state.mine]


@app.get("/thread")
def in_a_thread(sync: Sync):
    return sync.state.incr("visits")


@app.get("/sum")
async def add(offload: Offload):
    return await offload(sum, [1, 2, 3])
"""
MOST = 200


def test_every_part_is_a_dependency(tmp_path: Path) -> None:
    (tmp_path / "doors.py").write_text(APP)
    with workers("doors:app", 2, cwd=tmp_path) as running:

        def get(path: str) -> Any:
            with urllib.request.urlopen(running.url + path, timeout=30) as answer:
                return json.load(answer)

        seen: set[str] = set()
        number = 0
        while len(seen) < 2:
            number += 1
            count, worker, *rest = get("/visit")
            assert [count, *rest] == [number, 0, 7]
            seen.add(worker)
            assert number < MOST, "one worker answered everything"
        assert get("/thread") == number + 1
        assert get("/sum") == 6


async def call(app: FastAPI, path: str) -> Any:
    """One request to an application in this process, with its lifespan's state."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app) as state:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [],
            "state": dict(state or {}),
        }
        await app(scope, receive, send)
    assert sent[0]["status"] == 200
    return json.loads(sent[1]["body"])


@pytest.mark.anyio
async def test_a_test_can_put_something_else_in_its_place() -> None:
    class Ours:
        async def incr(self, key: str) -> int:
            return 42

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def visit(state: doors.State, request: Request) -> list[object]:
        return [await state.incr("visits"), request.state.cluster.mode]

    with cluster.fresh():
        assert await call(app, "/") == [1, "local"]
        app.dependency_overrides[doors.state] = Ours
        assert await call(app, "/") == [42, "local"]


@pytest.mark.anyio
async def test_a_lifespan_that_yields_nothing_gets_it_too() -> None:
    @asynccontextmanager
    async def own(app: object) -> AsyncIterator[None]:
        yield

    async with with_cluster(own)(None) as state:
        assert state == {"cluster": cluster}
