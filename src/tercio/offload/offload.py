"""``await cluster.offload(resize, image)``: what applications call."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tercio.offload.pool import Pool

P = ParamSpec("P")
R = TypeVar("R")


class Offload:
    """Call functions in other processes, so that they hold no event loop."""

    def __init__(self, pool: Pool, limit: float | None = None) -> None:
        """``limit`` is in seconds; a call that takes longer is killed."""
        self._pool = pool
        self._limit = limit

    async def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``function`` in another process and return what it returns, or raise what it raises.

        The function must be at the top of a module; it, its arguments and its result are pickled.
        A call whose task is cancelled is killed. Raises `OffloadError` when there is no room, when
        the call cannot be sent, when it took too long, or when its process died.
        """
        return await self._pool.run_within(self._limit, function, *args, **kwargs)

    def within(self, seconds: float) -> "Offload":
        """The same with a time limit: ``await cluster.offload.within(5)(resize, image)``."""
        if seconds <= 0:
            raise ValueError("a time limit is more than 0 seconds")
        return Offload(self._pool, seconds)

    @property
    def sync(self) -> "SyncOffload":
        """The same for threads."""
        return SyncOffload(self._pool, self._limit)

    def counters(self) -> dict[str, int]:
        """Calls of this process by their end, and how many are under way."""
        return self._pool.counters()


class SyncOffload:
    """As `Offload`, for threads without an event loop: it waits."""

    def __init__(self, pool: Pool, limit: float | None = None) -> None:
        self._pool = pool
        self._limit = limit

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``function`` in another process and wait for what it returns."""
        return self._pool.run_now(self._limit, function, *args, **kwargs)

    def within(self, seconds: float) -> "SyncOffload":
        """The same with a time limit."""
        if seconds <= 0:
            raise ValueError("a time limit is more than 0 seconds")
        return SyncOffload(self._pool, seconds)
