"""Sessions on every engine: two stores as two workers have them, over one state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tercio.sessions import SessionStore
from tercio.state.notifier import LocalNotifier
from tercio.state.state import State
from tests.state.engines import FACTORIES, Clock, Subject


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=sorted(FACTORIES))
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    async with FACTORIES[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def state(subject: Subject) -> State:
    return State(subject.engine, LocalNotifier())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(state: State, clock: Clock) -> tuple[SessionStore, SessionStore]:
    """Of two workers."""
    return SessionStore(state, clock=clock), SessionStore(state, clock=clock)
