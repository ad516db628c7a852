"""What cachelib's own tests (scripts/test-upstream) don't say of our cache."""

import datetime

import flask
import pytest

from tercio import cluster
from tercio.errors import Unencodable
from tercio.integrations.cachelib import TercioCache
from tercio.testing import Clock


def test_values_end_after_their_time_and_zero_is_for_ever(tercio_clock: Clock) -> None:
    cache = TercioCache(default_timeout=10)
    cache.set("default", 1)
    cache.set("for ever", 2, timeout=0)
    cache.set("an hour", 3, timeout=datetime.timedelta(hours=1))
    tercio_clock.advance(11)
    assert cache.get_many("default", "for ever", "an hour") == [None, 2, 3]


def test_a_count_ends_after_the_default_time(tercio_clock: Clock) -> None:
    cache = TercioCache(default_timeout=10)
    assert cache.inc("hits") == 1
    tercio_clock.advance(9)
    assert cache.inc("hits", 2) == 3
    tercio_clock.advance(2)
    assert cache.dec("hits") == -1


def test_names_and_prefixes_keep_caches_apart() -> None:
    plain, other, prefixed = TercioCache(), TercioCache(name="other"), TercioCache(key_prefix="p:")
    for number, cache in enumerate((plain, other, prefixed)):
        cache.set("key", number)
    assert prefixed.clear()
    assert [each.get("key") for each in (plain, other, prefixed)] == [0, 1, None]
    assert plain.clear()
    assert (plain.get("key"), other.get("key")) == (None, 1)


def test_a_key_that_clients_chose_may_be_of_any_length() -> None:
    cache = TercioCache(key_prefix="p:")
    long, half_a_pair = "ü" * 500, "\ud800"
    cache.set(long, "long")
    cache.set(half_a_pair, "half")
    assert (cache.get(long), cache.get(half_a_pair), cache.get(long + "x")) == (
        "long",
        "half",
        None,
    )
    cache.clear()
    assert not cache.has(long)


def test_a_stored_none_is_there() -> None:
    cache = TercioCache()
    cache.set("none", None)
    assert cache.has("none")
    assert not cache.has("missing")
    assert cache.get_many() == []


def test_nothing_is_pickled() -> None:
    with pytest.raises(Unencodable):
        TercioCache().set("object", object())


def test_the_state_of_the_application_is_not_touched() -> None:
    cluster.sync.state.set("key", "mine")
    cache = TercioCache()
    cache.set("key", "the cache's")
    cache.clear()
    assert cluster.sync.state.get("key") == "mine"


def test_a_view_of_flask_counts() -> None:
    app, cache = flask.Flask(__name__), TercioCache()

    @app.get("/")
    def index() -> str:
        return str(cache.inc("visits"))

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
