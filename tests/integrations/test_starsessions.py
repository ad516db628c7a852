"""Sessions of starsessions."""

import pytest

from tercio.errors import ConfigError
from tercio.integrations.starsessions import TercioStore
from tercio.testing import Clock


async def test_a_session_is_read_until_its_time_is_over(tercio_clock: Clock) -> None:
    store = TercioStore()
    assert await store.read("id", 60) == b""
    assert await store.write("id", b"data", lifetime=60, ttl=60) == "id"
    assert await TercioStore().read("id", 60) == b"data"
    assert await TercioStore(name="other").read("id", 60) == b""
    tercio_clock.advance(61)
    assert await store.read("id", 60) == b""


async def test_a_session_of_the_browser_is_kept_for_a_while(tercio_clock: Clock) -> None:
    store = TercioStore(gc_ttl=100)
    await store.write("id", b"data", lifetime=0, ttl=0)
    tercio_clock.advance(99)
    assert await store.read("id", 0) == b"data"
    tercio_clock.advance(2)
    assert await store.read("id", 0) == b""


async def test_a_session_that_was_removed_is_gone() -> None:
    store, long = TercioStore(), "x" * 1000
    await store.write(long, b"data", lifetime=60, ttl=-1)
    assert await store.read(long, 60) == b"data"
    await store.remove(long)
    assert await store.read(long, 60) == b""


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ConfigError):
        TercioStore(gc_ttl=0)
