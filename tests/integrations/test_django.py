"""What Django's own tests (scripts/test-upstream) don't say of our cache."""

from typing import Any

import django  # type: ignore[import-untyped]
import pytest
from django.conf import settings  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured  # type: ignore[import-untyped]
from django.template import Context, Engine  # type: ignore[import-untyped]
from django.utils.safestring import mark_safe  # type: ignore[import-untyped]

from tercio import cluster
from tercio.errors import Unencodable
from tercio.integrations.django import TercioCache
from tercio.testing import Clock

if not settings.configured:
    settings.configure(CACHES={"default": {"BACKEND": "tercio.integrations.django.TercioCache"}})
    django.setup()


class Reversing:
    """A serializer of an application."""

    def dumps(self, obj: Any) -> Any:
        return obj if type(obj) is int else str(obj)[::-1].encode()

    def loads(self, data: Any) -> Any:
        return data if type(data) is int else data.decode()[::-1]


def made(location: str = "", **params: Any) -> TercioCache:
    return TercioCache(location, params)


def test_no_time_is_for_ever_and_none_left_is_gone(tercio_clock: Clock) -> None:
    cache = made(TIMEOUT=10)
    cache.set("default", 1)
    cache.set("ever", 2, timeout=None)
    cache.set("past", 3, timeout=60)
    cache.set("past", 3, timeout=-1)
    cache.set("touched", 4)
    assert not cache.has_key("past")
    assert cache.touch("touched", 60)
    tercio_clock.advance(11)
    assert cache.get_many(["default", "ever", "touched"]) == {"ever": 2, "touched": 4}
    assert cache.touch("touched", 0)
    assert not cache.touch("touched", 60)
    assert cache.add("never", 1, timeout=0)
    assert not cache.has_key("never")


def test_a_stored_none_is_no_missing_value() -> None:
    cache = made()
    cache.set("none", None)
    assert cache.get("none", "default") is None
    assert cache.get_many(["none", "missing"]) == {"none": None}
    assert cache.get_many([]) == {}


def test_incr_counts_on_with_the_time_it_has_and_refuses_a_missing_key(
    tercio_clock: Clock,
) -> None:
    cache = made()
    with pytest.raises(ValueError, match="not found"):
        cache.incr("hits")
    cache.set("hits", 1, timeout=10)
    tercio_clock.advance(6)
    assert cache.incr("hits", 2) == 3
    tercio_clock.advance(6)
    assert cache.get("hits") is None


def test_locations_share_nothing() -> None:
    one, other = made("one"), made("other")
    one.set("key", 1)
    other.set("key", 2)
    cluster.sync.state.set("key", 3)
    one.clear()
    assert [one.get("key"), other.get("key"), cluster.sync.state.get("key")] == [None, 2, 3]
    with pytest.raises(ImproperlyConfigured, match="colon"):
        made("redis://somewhere")


def test_nothing_is_pickled_unless_the_settings_say_so() -> None:
    with pytest.raises(Unencodable):
        made().set("object", object())


def test_another_serializer_may_be_named() -> None:
    cache = made(OPTIONS={"serializer": f"{__name__}.Reversing"})
    cache.set("name", "ada")
    assert cluster.sync.state.namespace(".django").get(":1:name") == b"ada"[::-1]
    assert cache.get_many(["name"]) == {"name": "ada"}
    cache.set("number", 1)
    assert cache.incr("number") == 2


async def test_the_asynchronous_methods_do_the_same_without_a_thread(tercio_clock: Clock) -> None:
    cache = made(TIMEOUT=10)
    await cache.aset("one", 1)
    assert await cache.aadd("one", 2) is False
    assert await cache.aadd("never", 2, timeout=0) is True
    await cache.aset_many({"two": 2, "none": None})
    assert await cache.aget_many(["one", "two", "none", "never"]) == {
        "one": 1,
        "two": 2,
        "none": None,
    }
    assert await cache.aincr("one", 5) == 6
    with pytest.raises(ValueError, match="not found"):
        await cache.aincr("missing")
    assert await cache.atouch("one", None)
    assert await cache.atouch("two", 0)
    assert not await cache.ahas_key("two")
    tercio_clock.advance(11)
    assert [await cache.aget("one"), await cache.aget("none", "gone")] == [6, "gone"]
    assert await cache.adelete("one")
    await cache.adelete_many(["one", "two"])
    await cache.aset("past", 1, timeout=0)
    assert not await cache.ahas_key("past")
    assert await cache.aclear()
    assert await cache.aget_many([]) == {}


async def test_a_call_that_waits_works_in_a_loop_as_with_all_of_djangos_caches() -> None:
    cache = made()
    cache.set("key", 1)
    assert cache.incr("key") == 2
    assert "key" in cache
    assert await cache.aget("key") == 2


def test_a_template_keeps_what_it_made(tercio_clock: Clock) -> None:
    engine = Engine(libraries={"cache": "django.templatetags.cache"})
    template = engine.from_string(
        "{% load cache %}{% cache 60 shown %}<b>{{ name }}</b>{% endcache %}"
    )
    assert template.render(Context({"name": "a&b"})) == "<b>a&amp;b</b>"
    assert template.render(Context({"name": "another"})) == "<b>a&amp;b</b>"
    cache = made()
    cache.set("safe", mark_safe("<b>"))
    assert cache.get("safe") == "<b>"
