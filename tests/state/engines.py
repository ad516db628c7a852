"""Engines that the shared suite of the state runs on.

Each is a `Factory`: an async context manager that gives a fresh engine and says how its time goes
on. The server for Redis is in tests/engines/redis.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tercio.engines.embedded.state import EmbeddedState, open_state
from tercio.engines.local.state import LocalState
from tercio.state.engine import StateEngine
from tests.engines.redis.states import fresh_state

SIZE = 8 << 20


@dataclass(frozen=True)
class Subject:
    """An engine under test. ``pass_time`` returns when that many seconds went by for it."""

    engine: StateEngine
    pass_time: Callable[[float], Awaitable[None]]


Factory = Callable[[Path], AbstractAsyncContextManager[Subject]]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds


@asynccontextmanager
async def local(directory: Path) -> AsyncIterator[Subject]:
    clock = Clock()
    engine = LocalState(clock)
    yield Subject(engine, clock.pass_time)
    await engine.close()


def embedded(kind: str) -> Factory:
    @asynccontextmanager
    async def make(directory: Path) -> AsyncIterator[Subject]:
        clock = Clock()
        engine = open_with_clock(kind, directory, clock)
        yield Subject(engine, clock.pass_time)
        await engine.close()

    return make


def open_with_clock(kind: str, directory: Path, clock: Clock, size: int = SIZE) -> EmbeddedState:
    """An embedded engine whose time is the test's."""
    from tercio.engines.embedded.lmdb import LmdbStore
    from tercio.engines.embedded.sqlite import SqliteStore

    store = LmdbStore(str(directory), size) if kind == "lmdb" else SqliteStore(str(directory), size)
    return EmbeddedState(store, str(directory), clock)


def place(kind: str, directory: Path, size: int = SIZE, sync: str = "none") -> dict[str, object]:
    """What `open_state` opens."""
    return {
        "engine": kind,
        "path": str(directory),
        "size": size,
        "sync": sync,
        "epoch": time.time() - time.monotonic(),
    }


async def really(seconds: float) -> None:
    """For engines whose clock is the world's."""
    await asyncio.sleep(seconds)


@asynccontextmanager
async def redis(directory: Path) -> AsyncIterator[Subject]:
    async with fresh_state() as engine:
        yield Subject(engine, really)


FACTORIES: dict[str, Factory] = {
    "local": local,
    "lmdb": embedded("lmdb"),
    "sqlite": embedded("sqlite"),
    "redis": redis,
}

__all__ = ["FACTORIES", "Clock", "Factory", "Subject", "open_state", "open_with_clock", "place"]
