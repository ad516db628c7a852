"""What the tests of our server share."""

import pytest

# Before they are imported: what they assert is shown, too.
pytest.register_assert_rewrite("tests.http.harness", "tests.http.place")


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Both event loops: they differ in when they call a protocol, and in how they write."""
    name: str = request.param
    return name
