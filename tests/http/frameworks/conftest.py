"""A client of each kind."""

import pytest

from tests.http.frameworks.clients import CLIENTS, Fetch


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def fetch(request: pytest.FixtureRequest) -> Fetch:
    client: Fetch = request.param
    return client
