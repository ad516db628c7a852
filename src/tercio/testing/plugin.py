"""The fixtures; pytest finds them by itself where Tercio is installed."""

from collections.abc import Iterator

import pytest

from tercio import cluster as _cluster
from tercio.testing.clock import Clock


@pytest.fixture
def tercio_clock() -> Clock:
    """The clock of this test's engines; ``tercio_clock.advance(60)``."""
    return Clock()


@pytest.fixture(autouse=True)
def _tercio_fresh_engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """A state, a bus and metrics that no other test has seen."""
    if "tercio_clock" in request.fixturenames:
        clock: Clock = request.getfixturevalue("tercio_clock")
    else:
        clock = Clock()
    with _cluster.fresh(clock):
        yield
