"""Tokens on every engine: two `Tokens` over one state are two workers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tercio.state.notifier import LocalNotifier
from tercio.state.state import State
from tests.state.engines import FACTORIES, Subject


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
