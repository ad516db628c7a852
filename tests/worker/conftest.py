"""What the tests of workers share."""

import pytest


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Both event loops: they differ in timers, in accepting and in what they do with signals."""
    name: str = request.param
    return name
