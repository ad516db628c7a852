"""A cache for Django that all workers share; with ``SESSION_ENGINE`` its sessions are, too.

    CACHES = {"default": {"BACKEND": "tercio.integrations.django.TercioCache"}}

Values are msgpack unless ``OPTIONS["serializer"]`` names another way; pickle is never chosen here.
"""

# ruff: noqa: ASYNC109  # its methods are called as Django calls them

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, cast

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured  # type: ignore[import-untyped]
from django.utils.module_loading import import_string  # type: ignore[import-untyped]
from msgspec import Raw

from tercio.codec import decode
from tercio.integrations.space import Space, fitting


class Serializer(Protocol):
    """What ``OPTIONS["serializer"]`` is, as for Django's cache in Redis."""

    def dumps(self, obj: Any) -> Any:
        """The value as bytes; whole numbers as they are, if `incr` is to work."""

    def loads(self, data: Any) -> Any:
        """The value again."""


class TercioCache(BaseCache):  # type: ignore[misc]  # it has no types
    """``LOCATION`` is a name: caches of another one share nothing. ``OPTIONS``: ``serializer``.

    An expired key makes room by itself, and nothing is thrown away to make room: ``MAX_ENTRIES``
    means nothing. The asynchronous methods do not go through a thread. The others hold an event
    loop that they are called in, as with all of Django's caches: its own sessions do that.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """Raises `ImproperlyConfigured`."""
        super().__init__(params)
        try:
            self._space: Final = Space("django", location, holds_loops=True)
        except ValueError as error:
            raise ImproperlyConfigured(f"LOCATION of a TercioCache: {error}") from error
        serializer = params.get("OPTIONS", {}).get("serializer")
        if isinstance(serializer, str):
            serializer = import_string(serializer)
        if isinstance(serializer, type):
            serializer = serializer()
        self._serializer = cast("Serializer | None", serializer)

    # Threads

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        body = self._space.sync.get(self._name(key, version), type=Raw)
        return default if body is None else self._loaded(body)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._names(keys, version)
        bodies = self._space.sync.mget(*names.values(), type=Raw) if names else []
        return self._found(names, bodies)

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._space.sync.get(self._name(key, version), type=Raw) is not None

    def set(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        body = self._dumped(value)
        if is_over:
            self._space.sync.delete(name)
        else:
            self._space.sync.set(name, body, ttl=ttl)

    def add(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        body = self._dumped(value)
        if is_over:
            return self._space.sync.get(name, type=Raw) is None
        return self._space.sync.set(name, body, ttl=ttl, nx=True)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        if is_over:
            return self._space.sync.delete(name) > 0
        return self._space.sync.expire(name, ttl)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._space.sync.delete(self._name(key, version)) > 0

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        if names := self._names(keys, version):
            self._space.sync.delete(*names.values())

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        name = self._name(key, version)
        if self._space.sync.get(name, type=Raw) is None:
            raise _missing(key)
        # One that ended in between begins anew, and ends.
        return self._space.sync.incr(name, delta, ttl=self._counts_for())

    def clear(self) -> bool:
        return self._space.sync.clear() >= 0

    # Tasks

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        body = await self._space.state.get(self._name(key, version), type=Raw)
        return default if body is None else self._loaded(body)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._names(keys, version)
        bodies = await self._space.state.mget(*names.values(), type=Raw) if names else []
        return self._found(names, bodies)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return await self._space.state.get(self._name(key, version), type=Raw) is not None

    async def aset(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        body = self._dumped(value)
        if is_over:
            await self._space.state.delete(name)
        else:
            await self._space.state.set(name, body, ttl=ttl)

    async def aadd(
        self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        body = self._dumped(value)
        if is_over:
            return await self._space.state.get(name, type=Raw) is None
        return await self._space.state.set(name, body, ttl=ttl, nx=True)

    async def atouch(
        self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        name, ttl, is_over = self._name(key, version), *self._ttl(timeout)
        if is_over:
            return await self._space.state.delete(name) > 0
        return await self._space.state.expire(name, ttl)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return await self._space.state.delete(self._name(key, version)) > 0

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        if names := self._names(keys, version):
            await self._space.state.delete(*names.values())

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        name = self._name(key, version)
        if await self._space.state.get(name, type=Raw) is None:
            raise _missing(key)
        return await self._space.state.incr(name, delta, ttl=self._counts_for())

    async def aclear(self) -> bool:
        return await self._space.state.clear() >= 0

    # Parts

    def _name(self, key: Any, version: int | None) -> str:
        return fitting(self.make_and_validate_key(key, version=version))

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, str]:
        return {key: self._name(key, version) for key in keys}

    def _found(self, names: Mapping[Any, str], bodies: "list[Raw | None]") -> dict[Any, Any]:
        found = zip(names, bodies, strict=True)
        return {key: self._loaded(body) for key, body in found if body is not None}

    def _ttl(self, timeout: Any) -> tuple[float | None, bool]:
        """Seconds, None for ever; and whether that is over already: Django's 0 or less is."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return (None, False) if seconds is None else (max(0.0, seconds), seconds <= 0)

    def _counts_for(self) -> float | None:
        ttl, is_over = self._ttl(DEFAULT_TIMEOUT)
        return 1.0 if is_over else ttl

    def _dumped(self, value: Any) -> Any:
        return value if self._serializer is None else self._serializer.dumps(value)

    def _loaded(self, body: Raw) -> Any:
        value = decode(memoryview(body))
        return value if self._serializer is None else self._serializer.loads(value)


def _missing(key: Any) -> ValueError:
    return ValueError(f"Key {key!r} not found")
