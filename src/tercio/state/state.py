"""What the processes share, by name. Each call is one atomic step, unless it says otherwise.

Values are what `tercio.codec` knows. Names are text; with their namespace at most 400 bytes.
Every call may raise `StateBusy`, and `StateUnavailable` where a server keeps the state; those that
store something also `StateFull`, `Unencodable` and `ValueTooLarge`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar, overload

from tercio.codec import decode, encode
from tercio.errors import StateBusy
from tercio.state.engine import StateEngine
from tercio.state.group import Group
from tercio.state.keys import GROUP, LIMITS, LOCK, QUEUE, WIPED, Keys, checked_ttl, whole
from tercio.state.leader import Leader
from tercio.state.limits import LimitKind, hit
from tercio.state.lock import Lock
from tercio.state.notifier import LocalNotifier, Notifier
from tercio.state.queue import Queue
from tercio.state.rounds import BITE, UPDATE_TRIES
from tercio.state.sync import SyncState
from tercio.state.taking import all_given_back
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

_PATIENT_TRIES: Final = 4
_LONGEST_PAUSE: Final = 0.01  # seconds


class State:
    """The state in one namespace. For tasks of an event loop; threads have `sync`."""

    def __init__(
        self, engine: StateEngine, notifier: Notifier | None = None, namespace: str = ""
    ) -> None:
        """Without a notifier those who wait hear of this process alone, and look for the rest."""
        self._engine = engine
        self._notifier = notifier or LocalNotifier()
        self._keys = Keys(namespace)
        self._key = self._keys.value
        self._run = engine.run
        self.sync: Final = SyncState(engine, self._notifier, namespace)
        """The same calls for threads without an event loop."""

    def namespace(self, name: str) -> "State":
        """The same state with names of its own. Raises `ValueError` for a name with a colon."""
        return State(self._engine, self._notifier, self._keys.inner(name))

    @property
    def is_near(self) -> bool:
        """Whether reading waits for nothing, since it is memory of this machine."""
        return self._engine.is_near

    def get_near(self, key: str, *, type: type[T]) -> T | None:
        """A value where `is_near`, without giving way to other tasks. Raises `WrongType`."""
        body = self._engine.run_now(Get(self._key(key)))
        return None if body is None else decode(body, type)

    # Values

    @overload
    async def get(self, key: str) -> object: ...
    @overload
    async def get(self, key: str, default: object) -> object: ...
    @overload
    async def get(self, key: str, default: D, *, type: type[T]) -> T | D: ...
    @overload
    async def get(self, key: str, default: None = None, *, type: type[T]) -> T | None: ...
    async def get(self, key: str, default: Any = None, *, type: Any = None) -> Any:
        """The value, ``default`` if there is none or it has expired.

        With ``type`` it is checked, and built again if it is a dataclass, a date or the like.
        Raises `WrongType`.
        """
        body = await self._run(Get(self._key(key)))
        return default if body is None else decode(body, type)

    @overload
    async def mget(self, *keys: str) -> list[object]: ...
    @overload
    async def mget(self, *keys: str, type: type[T]) -> list[T | None]: ...
    async def mget(self, *keys: str, type: Any = None) -> Any:
        """Several values of one moment, None where there is none. Raises `WrongType`."""
        bodies = await self._run(GetMany(tuple(map(self._key, keys))))
        return [None if body is None else decode(body, type) for body in bodies]

    async def set(
        self, key: str, value: object, *, ttl: float | None = None, nx: bool = False
    ) -> bool:
        """Store a value for ``ttl`` seconds, or for good; what was there and its end are gone.

        With ``nx`` only where there is none. The answer: whether it was stored.
        """
        return await self._run(Set(self._key(key), encode(value), checked_ttl(ttl), nx))

    async def delete(self, *keys: str) -> int:
        """Remove values; the answer is how many there were."""
        return await self._run(Delete(tuple(map(self._key, keys))))

    async def incr(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        """Add to a whole number, 0 if there is none, and return the sum.

        ``ttl`` counts from the first call and is not renewed. Raises `WrongType` where something
        else is stored, or when the sum leaves 64 bits, and `TypeError` if ``by`` is none.
        """
        return await self._run(Incr(self._key(key), whole(by, "by"), checked_ttl(ttl)))

    async def expire(self, key: str, ttl: float | None) -> bool:
        """Give a value a new time to live, None for ever. The answer: whether there is one."""
        return await self._run(Expire(self._key(key), checked_ttl(ttl)))

    async def ttl(self, key: str) -> float | None:
        """Seconds that a value has left; None if it stays. Raises `NoSuchKey`."""
        return await self._run(Ttl(self._key(key)))

    async def compare_and_set(
        self, key: str, expected: object, new: object, *, ttl: float | None = None
    ) -> bool:
        """Store ``new`` if the value is ``expected``; None is "there is none", on both sides.

        The answer: whether it was so.
        """
        before = None if expected is None else encode(expected)
        after = None if new is None else encode(new)
        return await self._run(CompareAndSet(self._key(key), before, after, checked_ttl(ttl)))

    @overload
    async def update(
        self,
        key: str,
        change: Callable[[Any], D],
        default: object = None,
        *,
        ttl: float | None = None,
    ) -> D: ...
    @overload
    async def update(
        self,
        key: str,
        change: Callable[[T], D],
        default: T,
        *,
        ttl: float | None = None,
        type: type[T],
    ) -> D: ...
    async def update(
        self,
        key: str,
        change: Callable[[Any], Any],
        default: Any = None,
        *,
        ttl: float | None = None,
        type: Any = None,
    ) -> Any:
        """Replace a value by what ``change`` makes of it, and return that; None removes it.

        ``change`` is a plain function; it is called again when another process was faster, so it
        does nothing else. Raises `StateBusy` when that happened a thousand times.
        """
        whole = self._key(key)
        for tries in range(UPDATE_TRIES):
            body = await self._run(Get(whole))
            new = change(default if body is None else decode(body, type))
            after = None if new is None else encode(new)
            if await self._run(CompareAndSet(whole, body, after, checked_ttl(ttl))):
                return new
            # Those who lose together shall not come back together.
            wait = random.uniform(0.0, _LONGEST_PAUSE) if tries >= _PATIENT_TRIES else 0.0
            await asyncio.sleep(wait)
        raise StateBusy(f"{key!r} was changed by others {UPDATE_TRIES} times in between")

    @overload
    def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, object]]: ...
    @overload
    def scan(self, prefix: str = "", *, type: type[T]) -> AsyncIterator[tuple[str, T]]: ...
    async def scan(self, prefix: str = "", *, type: Any = None) -> AsyncIterator[tuple[str, Any]]:
        """Names that begin with ``prefix``, and their values. Many steps, not one.

        What is there all the while comes at least once; on Redis it may come twice.
        """
        whole, cursor = self._key(prefix), None
        while True:
            page = await self._run(Scan(whole, cursor))
            for key, body in page.items:
                yield self._keys.name(key), decode(body, type)
            if (cursor := page.cursor) is None:
                return
            await asyncio.sleep(0)

    async def clear(self, prefix: str = "") -> int:
        """Remove the values whose names begin with ``prefix``, in many steps; return how many."""
        whole, total = self._key(prefix), 0
        while True:
            removed = await self._run(Clear(whole, BITE))
            total += removed
            if removed < BITE:
                return total
            await asyncio.sleep(0)

    # Things that last

    def lock(self, name: str, *, ttl: float = 10.0, timeout: float | None = None) -> Lock:
        """``async with state.lock(name) as lock:``; renewed while it is held.

        ``ttl``: seconds after which others have it when this process dies or hangs. ``timeout``:
        seconds to wait for it, then `LockTaken`.
        """
        checked_ttl(ttl)
        key = self._keys.of(LOCK, name)
        return Lock(self._engine, self._notifier, key, ttl, timeout=timeout)

    def leader(self, name: str, *, ttl: float = 10.0) -> Leader:
        """``async with state.leader(name) as leader:``; waits until no other one leads."""
        checked_ttl(ttl)
        # In a space of its own: a lock of the same name is another thing.
        return Leader(self._engine, self._notifier, self._keys.of(LOCK, f"leader:{name}"), ttl)

    @overload
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None
    ) -> Queue[Any]: ...
    @overload
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None, type: type[T]
    ) -> Queue[T]: ...
    def queue(
        self, name: str, *, capacity: int = 10_000, ttl: float | None = None, type: Any = None
    ) -> Queue[Any]:
        """The queue of this name. An item that nobody took in ``ttl`` seconds is gone."""
        key = self._keys.of(QUEUE, name)
        return Queue(self._engine, self._notifier, key, capacity, checked_ttl(ttl), type)

    def group(self, name: str, *, ttl: float | None = None) -> Group:
        """The group of this name. A member is out after ``ttl`` seconds, unless it is renewed."""
        return Group(self._engine, self._keys.of(GROUP, name), checked_ttl(ttl))

    async def limit(
        self, key: str, limit: int, period: float, *, kind: LimitKind = "fixed", cost: int = 1
    ) -> Window:
        """Count a hit if fewer than ``limit`` were counted in ``period`` seconds.

        ``fixed``: in periods one after the other, the cheapest. ``moving``: in the period before
        now, exactly, 16 bytes a call. ``sliding``: nearly that, from two numbers. Raises
        `ValueError` for figures that are no limit, `TypeError` for a ``limit`` or a ``cost`` that
        is no whole number.
        """
        return await self._run(hit(self._keys, key, limit, period, kind, cost))

    async def remove_queue(self, name: str) -> bool:
        """Remove a queue with all its items. The answer: whether it held any."""
        return bool(await self._run(Delete((self._keys.of(QUEUE, name),))))

    async def remove_group(self, name: str) -> bool:
        """Remove a group with all its members. The answer: whether it had any."""
        return bool(await self._run(Delete((self._keys.of(GROUP, name),))))

    async def remove_limit(self, key: str) -> bool:
        """Forget the hits of a limit, of every kind. The answer: whether there were any."""
        return bool(await self._run(Delete(tuple(self._keys.of(kind, key) for kind in LIMITS))))

    async def wipe(self) -> int:
        """Remove all of this namespace but its locks, in many steps; return how many things.

        Namespaces within this one stay.
        """
        total = 0
        for kind in WIPED:
            while True:
                removed = await self._run(Clear(self._keys.of(kind, ""), BITE))
                total += removed
                if removed < BITE:
                    break
                await asyncio.sleep(0)
        return total

    def counters(self) -> dict[str, int]:
        """What this process counted: reads, writes, waits, slow ones, and what the engine knows."""
        return self._engine.counters()

    async def settle(self) -> None:
        """Return when all that cancelled calls took was given back; for the end of a process."""
        await all_given_back()
