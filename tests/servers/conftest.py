"""What the tests of servers share."""

import pytest


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    name: str = request.param
    return name


@pytest.fixture(params=["tercio", "uvicorn"])
def server(request: pytest.FixtureRequest) -> str:
    """Both servers."""
    name: str = request.param
    return name
