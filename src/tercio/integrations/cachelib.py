"""A cache of cachelib for all workers: for Flask-Session, Flask-Caching, and by itself.

Values are msgpack, never pickle. For threads, as WSGI applications have them.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Final

import cachelib
from msgspec import Raw

from tercio.integrations.space import Space, fitting


class TercioCache(cachelib.BaseCache):
    """``SESSION_CACHELIB = TercioCache()``. What is stored may raise what `cluster.state` does."""

    def __init__(
        self,
        default_timeout: int | datetime.timedelta = 300,
        key_prefix: str | None = None,
        *,
        name: str = "",
        ignore_delete_many_errors: bool = True,
    ) -> None:
        """``default_timeout`` in seconds, 0 for ever. Caches of another ``name`` share nothing.

        Raises `ValueError` for a name with a colon.
        """
        super().__init__(default_timeout)  # releases before 0.16 know nothing else
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.key_prefix: Final = key_prefix or ""
        self._space: Final = Space("cachelib", name)

    def get(self, key: str) -> Any:
        """The value, None if there is none."""
        return self._space.sync.get(self._name(key))

    def set(
        self, key: str, value: Any, timeout: int | datetime.timedelta | None = None
    ) -> bool | None:
        """Store a value for ``timeout`` seconds, 0 for ever. Raises `Unencodable`."""
        return self._space.sync.set(self._name(key), value, ttl=self._ttl(timeout))

    def add(self, key: str, value: Any, timeout: int | datetime.timedelta | None = None) -> bool:
        """Store a value if there is none. The answer: whether it was stored."""
        return self._space.sync.set(self._name(key), value, ttl=self._ttl(timeout), nx=True)

    def delete(self, key: str) -> bool:
        """Remove a value. The answer: whether there was one."""
        return self._space.sync.delete(self._name(key)) > 0

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self._space.sync.get(self._name(key), type=Raw) is not None

    def clear(self) -> bool:
        """Remove what is in this cache: with a prefix, what begins with it."""
        self._space.sync.clear(self.key_prefix)
        return True

    def get_many(self, *keys: str) -> list[Any]:
        """The values of one moment."""
        return self._space.sync.mget(*map(self._name, keys)) if keys else []

    def set_many(
        self, mapping: Mapping[str, Any], timeout: int | datetime.timedelta | None = None
    ) -> list[Any]:
        """Store several values, one after the other; their keys are the answer."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, 0 if there is none, in one step of all processes.

        Its time is the default one, and begins when the number does.
        """
        return self._space.sync.incr(self._name(key), delta, ttl=self._ttl(None))

    def dec(self, key: str, delta: int = 1) -> int | None:
        """The same downwards."""
        return self.inc(key, -delta)

    def _ttl(self, timeout: int | datetime.timedelta | None) -> float | None:
        seconds = self._normalize_timeout(timeout)
        return seconds if seconds > 0 else None

    def _name(self, key: str) -> str:
        # The prefix stays in front of a key that is too long: `clear` finds it by that.
        return self.key_prefix + fitting(key)
