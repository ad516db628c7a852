"""cachelib's own tests of what every cache does, run on ours; placed among them by
`scripts/test-upstream`.
"""

import pytest
from clear import ClearTests  # type: ignore[import-not-found]
from common import CommonTests  # type: ignore[import-not-found]
from delete_many_with_prefix import DeleteManyWithPrefixTests  # type: ignore[import-not-found]
from has import HasTests  # type: ignore[import-not-found]

from tercio.integrations.cachelib import TercioCache


@pytest.fixture(autouse=True)
def cache_factory(request: pytest.FixtureRequest) -> None:
    request.cls.cache_factory = staticmethod(TercioCache)


class TestTercioCache(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests):  # type: ignore[misc]
    """All of them."""
