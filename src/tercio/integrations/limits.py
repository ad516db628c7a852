"""Rate limits of `limits` (slowapi, Flask-Limiter) that all workers count together.

Importing this module registers ``tercio://`` and ``async+tercio://``. What follows is a name:
limits of another one are counted apart.
"""

import time
from collections.abc import Callable
from threading import Thread
from typing import Final, TypeVar
from urllib.parse import urlsplit

import limits.aio.storage
import limits.storage
from limits.storage.base import TimestampedSlidingWindow

from tercio.errors import NoSuchKey, TercioError
from tercio.integrations.space import Space, fitting
from tercio.integrations.windows import Windows
from tercio.state.caller import is_in_loop
from tercio.state.verbs import Window

R = TypeVar("R")

_FADING: Final = "sliding:"
"""In front of the names of `Windows`; a fixed limit of the same key is another thing."""


class TercioStorage(
    limits.storage.Storage,
    limits.storage.MovingWindowSupport,
    limits.storage.SlidingWindowCounterSupport,
    TimestampedSlidingWindow,  # says that periods begin at multiples of theirs
):
    """``tercio://``, for threads; and for slowapi, which calls it in the event loop.

    There a call holds the loop up for as long as it takes: a fraction of a millisecond, but with
    ``--redis`` a round trip. Where that matters use ``async+tercio://``.
    """

    STORAGE_SCHEME = ["tercio"]

    def __init__(
        self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool
    ) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._space: Final = _space(uri)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return TercioError

    def check(self) -> bool:
        """Whether the state answers."""
        try:
            self.get("check")
        except TercioError:
            return False
        return True

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return _waiting(lambda: self._space.sync.incr(fitting(key), amount, ttl=expiry))

    def get(self, key: str) -> int:
        return _waiting(lambda: self._space.sync.get(fitting(key), 0, type=int))

    def get_expiry(self, key: str) -> float:
        def left() -> float:
            try:
                return self._space.sync.ttl(fitting(key)) or 0.0
            except NoSuchKey:
                return 0.0

        return time.time() + _waiting(left)

    def clear(self, key: str) -> None:
        def forget() -> None:
            self._space.sync.delete(fitting(key))
            self._space.sync.remove_limit(fitting(key))

        _waiting(forget)

    def reset(self) -> int | None:
        return _waiting(lambda: self._space.sync.wipe())

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self._moving(key, limit, expiry, amount).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return _seen(self._moving(key, limit, expiry, 0), expiry)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        hit = _Hit(limit, expiry, amount)
        ttl = 2.0 * expiry
        _waiting(
            lambda: self._space.sync.update(
                _FADING + fitting(key), hit, None, ttl=ttl, type=Windows
            )
        )
        return hit.is_allowed

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        stored = _waiting(lambda: self._space.sync.get(_FADING + fitting(key), type=Windows))
        return _described(stored, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        _waiting(lambda: self._space.sync.delete(_FADING + fitting(key)))

    def _moving(self, key: str, limit: int, period: float, cost: int) -> Window:
        return _waiting(
            lambda: self._space.sync.limit(fitting(key), limit, period, kind="moving", cost=cost)
        )


class AsyncTercioStorage(
    limits.aio.storage.Storage,
    limits.aio.storage.MovingWindowSupport,
    limits.aio.storage.SlidingWindowCounterSupport,
    TimestampedSlidingWindow,
):
    """``async+tercio://``, for tasks."""

    STORAGE_SCHEME = ["async+tercio"]

    def __init__(
        self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool
    ) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._space: Final = _space(uri)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return TercioError

    async def check(self) -> bool:
        """Whether the state answers."""
        try:
            await self.get("check")
        except TercioError:
            return False
        return True

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        return await self._space.state.incr(fitting(key), amount, ttl=expiry)

    async def get(self, key: str) -> int:
        return await self._space.state.get(fitting(key), 0, type=int)

    async def get_expiry(self, key: str) -> float:
        try:
            left = await self._space.state.ttl(fitting(key)) or 0.0
        except NoSuchKey:
            left = 0.0
        return time.time() + left

    async def clear(self, key: str) -> None:
        await self._space.state.delete(fitting(key))
        await self._space.state.remove_limit(fitting(key))

    async def reset(self) -> int | None:
        return await self._space.state.wipe()

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return (await self._moving(key, limit, expiry, amount)).allowed

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return _seen(await self._moving(key, limit, expiry, 0), expiry)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        hit = _Hit(limit, expiry, amount)
        ttl = 2.0 * expiry
        await self._space.state.update(_FADING + fitting(key), hit, None, ttl=ttl, type=Windows)
        return hit.is_allowed

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        stored = await self._space.state.get(_FADING + fitting(key), type=Windows)
        return _described(stored, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self._space.state.delete(_FADING + fitting(key))

    async def _moving(self, key: str, limit: int, period: float, cost: int) -> Window:
        state = self._space.state
        return await state.limit(fitting(key), limit, period, kind="moving", cost=cost)


class _Hit:
    """The change of one hit, and whether it was allowed when it was made."""

    def __init__(self, limit: int, period: float, amount: int) -> None:
        self.is_allowed = False
        self._limit = limit
        self._period = period
        self._amount = amount

    def __call__(self, stored: Windows | None) -> Windows | None:
        now = time.time()
        windows = Windows.at(now, self._period, stored)
        after = windows.hit(now, self._period, self._limit, self._amount)
        self.is_allowed = after is not None
        return stored if after is None else after


def _described(stored: Windows | None, period: float) -> tuple[int, float, int, float]:
    now = time.time()
    windows = Windows.at(now, period, stored)
    before, left = windows.before, windows.left_of_before(now, period)
    return before, left, windows.hits, windows.left(now, period)


def _seen(window: Window, period: float) -> tuple[float, int]:
    """The moment of the oldest hit, and how many there are."""
    now = time.time()
    return (now + window.reset_after - period if window.hits else now), window.hits


def _space(uri: str | None) -> Space:
    return Space("limits", urlsplit(uri or "").netloc)


def _waiting(call: Callable[[], R]) -> R:
    """What the call returns; in an event loop it is made in a thread, and waited for."""
    if not is_in_loop():
        return call()
    answers: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # raised again by who waits
            errors.append(error)

    # One of its own: a pool's threads would be gone after a fork.
    thread = Thread(target=run, name="tercio-limits")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
