"""A queue between the processes that share the state: each item goes to one who takes it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Generic, TypeVar, cast

from tercio.codec import decode, encode
from tercio.errors import QueueFull
from tercio.state.engine import StateEngine
from tercio.state.keys import shown
from tercio.state.notifier import POLL, Notifier
from tercio.state.taking import take
from tercio.state.verbs import Pop, Push, PutBack, Size

T = TypeVar("T")

ROOM_POLL: Final = 0.05
"""Seconds between two looks for room: takers tell nobody, since hardly anybody waits for it."""

RARE_POLL: Final = 5.0
"""Seconds between two looks for an item, at most: they double from `POLL`, or thousands who wait,
each for its own queue, would keep the state busy with it."""


class Queue(Generic[T]):
    """First in, first out. What is taken is gone: a process that dies with an item loses it."""

    def __init__(
        self,
        engine: StateEngine,
        notifier: Notifier,
        key: bytes,
        capacity: int,
        ttl: float | None,
        type: type[T] | None,
    ) -> None:
        self._engine = engine
        self._notifier = notifier
        self._key = key
        self._capacity = capacity
        self._ttl = ttl
        self._type = type

    async def put(self, item: T, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Append, when there is room. Raises `QueueFull` after ``timeout`` seconds."""
        verb = Push(self._key, encode(item), self._capacity, self._ttl)
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while not await self._engine.run(verb):
            left = ROOM_POLL if deadline is None else deadline - loop.time()
            if left <= 0.0:
                raise QueueFull(f"{shown(self._key)} is full: it takes {self._capacity}")
            await asyncio.sleep(min(left, ROOM_POLL))
        self._notifier.notify(self._key)

    async def put_nowait(self, item: T) -> None:
        """Append. Raises `QueueFull`."""
        await self.put(item, timeout=0.0)

    async def get(self, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Take the oldest item, when there is one. Raises `TimeoutError` after ``timeout`` seconds.

        If the call is cancelled, an item that it has just taken is put back as the oldest. An item
        that is not of the queue's type is taken all the same, and raises `WrongType`.
        """
        item = await self._take()
        if item is not None:
            return self._decoded(item)
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        watch = self._notifier.watch(self._key)
        poll = POLL
        try:
            while (item := await self._take()) is None:
                left = poll if deadline is None else deadline - loop.time()
                if left <= 0.0:
                    raise TimeoutError(f"no item came into {shown(self._key)} within {timeout:g} s")
                await watch.wait(min(left, poll))
                poll = min(2 * poll, RARE_POLL)
        finally:
            watch.close()
        return self._decoded(item)

    async def size(self) -> int:
        """How many items wait."""
        return await self._engine.run(Size(self._key))

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            yield await self.get()

    async def _take(self) -> bytes | None:
        return await take(self._engine.run(Pop(self._key)), self._put_back)

    async def _put_back(self, item: bytes) -> None:
        await self._engine.run(PutBack(self._key, item, self._ttl))
        self._notifier.notify(self._key)

    def _decoded(self, item: bytes) -> T:
        return cast(
            "T", decode(item) if self._type is None else decode(item, cast("Any", self._type))
        )
