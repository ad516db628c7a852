"""Pass items to any number of readers, each with a bounded queue of its own.

A reader that falls too far behind misses items and is told how many: nothing here waits for it.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from tercio.errors import ControlError

T = TypeVar("T")

QUEUED = 1000
"""Items that a reader may be behind."""


class Feed(Generic[T]):
    """Where items come in. All of it in one event loop."""

    def __init__(self) -> None:
        # Weak: a reader that left its loop with `break` is no longer passed anything.
        self._readers: weakref.WeakSet[Reader[T]] = weakref.WeakSet()
        self.is_over: bool = False

    def put(self, item: T) -> None:
        """Pass an item to all readers."""
        for reader in list(self._readers):
            reader.put(item)

    def end(self) -> None:
        """Nothing comes any more; readers end once they have taken what they have."""
        self.is_over = True
        for reader in list(self._readers):
            reader.end()

    def read(self, past: Iterable[T] = ()) -> "Reader[T]":
        """A reader of everything from now on, with ``past`` before it."""
        reader = Reader(past)
        if self.is_over:
            reader.end()
        self._readers.add(reader)
        return reader


class Reader(Generic[T]):
    """An asynchronous iterator, for one task at a time.

    When items were missed it raises `ControlError` in their place, after those before them; it
    may be iterated again then, and goes on with what comes.
    """

    def __init__(self, past: Iterable[T] = ()) -> None:
        self._items = deque(past)
        self._missed = 0
        self._is_over = False
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        if len(self._items) >= QUEUED or self._missed:
            self._missed += 1
        else:
            self._items.append(item)
        self._arrived.set()

    def end(self) -> None:
        self._is_over = True
        self._arrived.set()

    def __aiter__(self) -> "Reader[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._missed:
                missed, self._missed = self._missed, 0
                raise ControlError(f"missed {missed} items: this reader is too slow")
            if self._is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()
