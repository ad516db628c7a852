"""Carry out calls in child processes: so many at a time, each with an end.

Children are started when a call needs one, kept for the next, and ended when none came for a while.
They are `anyio.to_process`' and live with an event loop of a thread of ours, which ends with them:
so threads and event loops use the same children.
"""

import asyncio
import concurrent.futures
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from tercio.errors import OffloadError
from tercio.offload import child
from tercio.offload.call import Answer, Call, carried_context, name_of
from tercio.offload.places import Places

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

P = ParamSpec("P")
R = TypeVar("R")

_WAITING: Final = 1000
"""Calls of one process that may wait for a place."""

_IDLE: Final = 60.0  # seconds without a call; then the children end
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.05  # seconds between two tries to get a place of the cluster


class Pool:
    """Child processes for calls."""

    def __init__(
        self,
        size: int = 0,
        places: Places | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        idle: float = _IDLE,
        waiting: int = _WAITING,
    ) -> None:
        """At most ``size`` calls at a time in this process (0: one per CPU).

        ``places`` bounds them over the whole cluster; ``environ`` is set in the children.
        ``idle`` is in seconds; ``waiting`` is how many calls may wait.
        """
        self.size: int = size or os.cpu_count() or 1
        self._places = places
        self._environ = dict(environ or {})
        self._idle = idle
        self._most_waiting = waiting
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._calls = 0  # under way, those that wait included
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._counters = {
            "calls": 0, "failed": 0, "refused": 0, "timed_out": 0, "cancelled": 0, "died": 0,
        }  # fmt: skip

    async def run_within(
        self, limit: float | None, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call ``function`` in a child and return what it returns, or raise what it raises.

        It is killed after ``limit`` seconds, the wait for a place included; None: never. A
        cancelled call is killed, too. Raises `OffloadError` when there is no room, when the call
        cannot be sent, when it took too long, or when its process died.
        """
        future = self._submit(limit, partial(function, *args, **kwargs), function)
        return self._value(await asyncio.wrap_future(future), function)

    def run_now(
        self, limit: float | None, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same from a thread without a running loop.

        Raises `RuntimeError` where one runs: it would stand still meanwhile.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs in this thread: use `await cluster.offload(…)`")
        future = self._submit(limit, partial(function, *args, **kwargs), function)
        try:
            return self._value(future.result(), function)
        except BaseException:
            future.cancel()
            raise

    def counters(self) -> dict[str, int]:
        """Calls by their end, and how many are under way."""
        return {**self._counters, "under_way": self._calls}

    def close(self) -> None:
        """Kill what is under way and end all children."""
        self._is_closed = True
        self._end_children(even_busy=True)

    def _value(self, packed: bytes, function: Callable[..., R]) -> R:
        answer: Answer = pickle.loads(packed)
        if answer.error is None:
            return answer.value  # type: ignore[return-value]
        self._counters["failed"] += 1
        answer.error.add_note(f"In another process:\n{answer.traceback.rstrip()}")
        raise answer.error

    def _submit(
        self, limit: float | None, call: "partial[R]", function: Callable[..., R]
    ) -> "concurrent.futures.Future[bytes]":
        packed = Call(function, call.args, call.keywords, carried_context(), self._environ).pack()
        with self._lock:
            if self._is_closed:
                raise OffloadError("this process is about to end: it offloads no more calls")
            if self._calls >= self.size + self._most_waiting:
                self._counters["refused"] += 1
                raise OffloadError(
                    f"{self._calls} calls are under way or wait already: "
                    f"{name_of(function)} was not begun"
                )
            self._calls += 1
            self._counters["calls"] += 1
            try:
                future: concurrent.futures.Future[bytes] = self._open_portal().start_task_soon(
                    self._carry_out, limit, packed, name_of(function)
                )
            except BaseException:
                self._calls -= 1
                raise
        future.add_done_callback(self._ended)
        return future

    async def _carry_out(self, limit: float | None, packed: bytes, name: str) -> bytes:
        """In the portal's loop."""
        import anyio
        from anyio import to_process

        try:
            with anyio.fail_after(limit):
                async with self._limiter:
                    place = await self._take_place()
                    try:
                        return await to_process.run_sync(
                            child.carry_out, packed, cancellable=True, limiter=self._unlimited
                        )
                    finally:
                        if place is not None and self._places is not None:
                            self._places.give_back(place)
        except TimeoutError:
            self._counters["timed_out"] += 1
            raise OffloadError(f"{name} was killed after {limit:g} s") from None
        except anyio.BrokenWorkerProcess as error:
            self._counters["died"] += 1
            if (cause := error.__cause__) is not None and "initialization" in str(error):
                raise OffloadError(
                    f"no process could be started for {name}: {cause!r} (does the main module do "
                    'its work without `if __name__ == "__main__"`?)'
                ) from error
            raise OffloadError(
                f"the process that carried out {name} died (a crash, or the kernel was out of "
                "memory); the next call gets another one"
            ) from error
        except BaseException as error:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                self._counters["cancelled"] += 1
            raise

    async def _take_place(self) -> int | None:
        import anyio

        if self._places is None:
            return None
        pause = _FIRST_LOOK
        while (place := self._places.take()) is None:
            # The kernel wakes nobody who would take any of several locks.
            await anyio.sleep(pause)
            pause = min(pause * 2, _LAST_LOOK)
        return place

    def _open_portal(self) -> "BlockingPortal":
        """With the lock held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._portal is None:
            from anyio import CapacityLimiter
            from anyio.from_thread import start_blocking_portal

            self._portal_context = start_blocking_portal("asyncio")
            self._portal = self._portal_context.__enter__()
            self._limiter = CapacityLimiter(self.size)
            self._unlimited = CapacityLimiter(self.size)
        return self._portal

    def _ended(self, future: "concurrent.futures.Future[bytes]") -> None:
        with self._lock:
            self._calls -= 1
            if self._calls == 0 and not self._is_closed and self._timer is None:
                self._timer = threading.Timer(self._idle, self._end_children)
                self._timer.daemon = True
                self._timer.start()

    def _end_children(self, *, even_busy: bool = False) -> None:
        with self._lock:
            if self._calls and not even_busy:
                return
            portal, context = self._portal, self._portal_context
            self._portal = self._portal_context = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if portal is not None and context is not None:
            if even_busy:
                portal.call(portal.stop, True)
            context.__exit__(None, None, None)  # with its loop the children end
