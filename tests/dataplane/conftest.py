"""Rings for a test."""

from collections.abc import Iterator

import pytest

from tercio.dataplane.rings import Rings
from tests.dataplane.rings import CAPACITY


@pytest.fixture(params=[False, True], ids=["in order", "careful"])
def rings(request: pytest.FixtureRequest) -> Iterator[Rings]:
    made = Rings.create(4, CAPACITY, careful=request.param)
    yield made
    made.close()
