"""Real workers, one for each server and set of options, for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.http.parity.place import SERVERS, Place, Places


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="package")
def places() -> Iterator[Places]:
    with Places() as places:
        yield places


@pytest.fixture
def place(places: Places, server: str) -> Place:
    """A worker with the default options."""
    return places.of(server)
