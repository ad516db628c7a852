"""Django's own tests of caches and of sessions, run on ours; placed among them by
`scripts/test-upstream`.

They store objects of all kinds, so the serializer of these tests pickles; Tercio itself never does.
What is left out, as for Django's own cache in Redis: caches that throw entries away at a number.
"""

import pickle
from typing import Any

from cache.tests import (  # type: ignore[import-not-found]
    BaseCacheTests,
    caches_setting_for_tests,
)
from django.contrib.sessions.backends.cache import (  # type: ignore[import-untyped]
    SessionStore as CacheSession,
)
from django.contrib.sessions.backends.cached_db import (  # type: ignore[import-untyped]
    SessionStore as CacheDBSession,
)
from django.core.cache import caches  # type: ignore[import-untyped]
from django.test import TestCase, override_settings  # type: ignore[import-untyped]
from sessions_tests.tests import SessionTestsMixin  # type: ignore[import-not-found]

BACKEND = "tercio.integrations.django.TercioCache"


class Pickles:
    """As Django's Redis has it: whole numbers as they are, for `incr`."""

    def dumps(self, obj: Any) -> Any:
        return obj if type(obj) is int else pickle.dumps(obj)

    def loads(self, data: Any) -> Any:
        return data if type(data) is int else pickle.loads(data)


@override_settings(
    CACHES=caches_setting_for_tests(
        BACKEND=BACKEND, OPTIONS={"serializer": Pickles}, exclude={"cull", "zero_cull"}
    )
)
class TercioCacheTests(BaseCacheTests, TestCase):  # type: ignore[misc]
    """All that every cache does."""


@override_settings(CACHES={"default": {"BACKEND": BACKEND}})
class TercioSessionTests(SessionTestsMixin, TestCase):  # type: ignore[misc]
    """Sessions in the cache, as msgpack."""

    backend = CacheSession

    def test_it_is_our_cache(self) -> None:
        self.session.save()
        assert caches["default"].get(self.session.cache_key) is not None


@override_settings(CACHES={"default": {"BACKEND": BACKEND}})
class TercioCachedSessionTests(SessionTestsMixin, TestCase):  # type: ignore[misc]
    """Sessions in the database, with the cache before it."""

    backend = CacheDBSession
