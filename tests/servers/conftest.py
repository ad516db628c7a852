"""What the tests of servers share."""

import importlib.util

import pytest

_GRANIAN = pytest.param(
    "granian",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("granian") is None,
        reason="our use of granian needs Linux's epoll, so it is installed there only",
    ),
)


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


@pytest.fixture(params=["tercio", "uvicorn", _GRANIAN])
def any_server(request: pytest.FixtureRequest) -> str:
    """All three servers."""
    name: str = request.param
    return name
