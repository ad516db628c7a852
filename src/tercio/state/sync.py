"""The calls of `State` for threads: they wait instead of being awaited.

In a thread where an event loop runs they raise: waiting there would stop every other request.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, overload

from tercio.codec import decode, encode
from tercio.errors import StateBusy
from tercio.state.caller import Caller
from tercio.state.engine import StateEngine
from tercio.state.keys import GROUP, LIMITS, LOCK, QUEUE, WIPED, Keys, checked_ttl, whole
from tercio.state.limits import LimitKind, hit
from tercio.state.notifier import Notifier
from tercio.state.rounds import BITE, UPDATE_TRIES
from tercio.state.sync_lock import SyncLock
from tercio.state.sync_parts import SyncGroup, SyncQueue
from tercio.state.verbs import (
    Clear,
    CompareAndSet,
    Delete,
    Expire,
    Get,
    GetMany,
    Incr,
    Scan,
    Set,
    Ttl,
    Window,
)

T = TypeVar("T")
D = TypeVar("D")

_PAUSE: Final = 0.002  # seconds, at most, after an update that lost


class SyncState:
    """As `State`."""

    def __init__(
        self,
        engine: StateEngine,
        notifier: Notifier,
        namespace: str = "",
        *,
        holds_loops: bool = False,
    ) -> None:
        self._caller = Caller(engine, notifier, holds_loops=holds_loops)
        self._run = self._caller.run
        self._keys = Keys(namespace)
        self._key = self._keys.value

    def namespace(self, name: str) -> "SyncState":
        """As `State.namespace`."""
        caller = self._caller
        return SyncState(
            caller.engine, caller.notifier, self._keys.inner(name), holds_loops=caller.holds_loops
        )

    def holding_loops(self) -> "SyncState":
        """The same, but it waits in an event loop, too, and holds it: for adapters only.

        Some frameworks call a synchronous store in a loop, and cannot be told to await another one.
        """
        return SyncState(
            self._caller.engine, self._caller.notifier, self._keys.namespace, holds_loops=True
        )

    @overload
    def get(self, key: str) -> object: ...
    @overload
    def get(self, key: str, default: object) -> object: ...
    @overload
    def get(self, key: str, default: D, *, type: type[T]) -> T | D: ...
    @overload
    def get(self, key: str, default: None = None, *, type: type[T]) -> T | None: ...
    def get(self, key: str, default: Any = None, *, type: Any = None) -> Any:
        """As `State.get`."""
        body = self._run(Get(self._key(key)))
        return default if body is None else decode(body, type)

    @overload
    def mget(self, *keys: str) -> list[object]: ...
    @overload
    def mget(self, *keys: str, type: type[T]) -> list[T | None]: ...
    def mget(self, *keys: str, type: Any = None) -> Any:
        """As `State.mget`."""
        bodies = self._run(GetMany(tuple(map(self._key, keys))))
        return [None if body is None else decode(body, type) for body in bodies]

    def set(self, key: str, value: object, *, ttl: float | None = None, nx: bool = False) -> bool:
        """As `State.set`."""
        return self._run(Set(self._key(key), encode(value), checked_ttl(ttl), nx))

    def delete(self, *keys: str) -> int:
        """As `State.delete`."""
        return self._run(Delete(tuple(map(self._key, keys))))

    def incr(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        """As `State.incr`."""
        return self._run(Incr(self._key(key), whole(by, "by"), checked_ttl(ttl)))

    def expire(self, key: str, ttl: float | None) -> bool:
        """As `State.expire`."""
        return self._run(Expire(self._key(key), checked_ttl(ttl)))

    def ttl(self, key: str) -> float | None:
        """As `State.ttl`."""
        return self._run(Ttl(self._key(key)))

    def compare_and_set(
        self, key: str, expected: object, new: object, *, ttl: float | None = None
    ) -> bool:
        """As `State.compare_and_set`."""
        before = None if expected is None else encode(expected)
        after = None if new is None else encode(new)
        return self._run(CompareAndSet(self._key(key), before, after, checked_ttl(ttl)))

    def update(
        self,
        key: str,
        change: Callable[[Any], D],
        default: object = None,
        *,
        ttl: float | None = None,
        type: Any = None,
    ) -> D:
        """As `State.update`."""
        whole = self._key(key)
        for _ in range(UPDATE_TRIES):
            body = self._run(Get(whole))
            new = change(default if body is None else decode(body, type))
            after = None if new is None else encode(new)
            if self._run(CompareAndSet(whole, body, after, checked_ttl(ttl))):
                return new
            time.sleep(random.uniform(0.0, _PAUSE))
        raise StateBusy(f"{key!r} was changed by others {UPDATE_TRIES} times in between")

    @overload
    def scan(self, prefix: str = "") -> Iterator[tuple[str, object]]: ...
    @overload
    def scan(self, prefix: str = "", *, type: type[T]) -> Iterator[tuple[str, T]]: ...
    def scan(self, prefix: str = "", *, type: Any = None) -> Iterator[tuple[str, Any]]:
        """As `State.scan`."""
        whole, cursor = self._key(prefix), None
        while True:
            page = self._run(Scan(whole, cursor))
            for key, body in page.items:
                yield self._keys.name(key), decode(body, type)
            if (cursor := page.cursor) is None:
                return

    def clear(self, prefix: str = "") -> int:
        """As `State.clear`."""
        whole, total = self._key(prefix), 0
        while True:
            removed = self._run(Clear(whole, BITE))
            total += removed
            if removed < BITE:
                return total

    def lock(self, name: str, *, ttl: float = 10.0, timeout: float | None = None) -> SyncLock:
        """``with state.sync.lock(name) as lock:``; renewed by a thread while it is held.

        Nothing can stop the body when the lock is lost: look at ``lock.lost`` where it matters.
        """
        checked_ttl(ttl)
        return SyncLock(self._caller, self._keys.of(LOCK, name), ttl, timeout)

    @overload
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None
    ) -> SyncQueue[Any]: ...
    @overload
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None, type: type[T]
    ) -> SyncQueue[T]: ...
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None, type: Any = None
    ) -> SyncQueue[Any]:
        """As `State.queue`."""
        key = self._keys.of(QUEUE, name)
        return SyncQueue(self._caller, key, capacity, checked_ttl(ttl), type)

    def group(self, name: str, *, ttl: float | None = None) -> SyncGroup:
        """As `State.group`."""
        return SyncGroup(self._caller, self._keys.of(GROUP, name), checked_ttl(ttl))

    def limit(
        self, key: str, limit: int, period: float, *, kind: LimitKind = "fixed", cost: int = 1
    ) -> Window:
        """As `State.limit`."""
        return self._run(hit(self._keys, key, limit, period, kind, cost))

    def remove_queue(self, name: str) -> bool:
        """As `State.remove_queue`."""
        return bool(self._run(Delete((self._keys.of(QUEUE, name),))))

    def remove_group(self, name: str) -> bool:
        """As `State.remove_group`."""
        return bool(self._run(Delete((self._keys.of(GROUP, name),))))

    def remove_limit(self, key: str) -> bool:
        """As `State.remove_limit`."""
        return bool(self._run(Delete(tuple(self._keys.of(kind, key) for kind in LIMITS))))

    def wipe(self) -> int:
        """As `State.wipe`."""
        total = 0
        for kind in WIPED:
            while True:
                removed = self._run(Clear(self._keys.of(kind, ""), BITE))
                total += removed
                if removed < BITE:
                    break
        return total
