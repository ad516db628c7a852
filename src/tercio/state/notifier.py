"""How those who wait for a lock or an item hear that it may be there.

A notice may never be sent, if a process dies: who waits looks by itself now and then as well.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Final, Protocol

POLL: Final = 0.25
"""Seconds after which one who waits looks without a notice."""


class Watch(Protocol):
    """Hears of one key from its making until `close`. For one task."""

    async def wait(self, limit: float) -> None:
        """Return when there was a notice since the last call, or the making; or after ``limit``."""

    def close(self) -> None:
        """Hear no more."""


class Notifier(Protocol):
    """Says that something changed, to all processes that share the state."""

    def notify(self, key: bytes) -> None:
        """What ``key`` names has changed. Any thread; it never waits and never fails."""

    def watch(self, key: bytes) -> Watch:
        """Hear of ``key`` from now on, in the running loop."""


class LocalNotifier:
    """The `Notifier` of one process."""

    def __init__(self) -> None:
        self._watches: dict[bytes, list[_LocalWatch]] = {}
        self._lock = threading.Lock()

    def notify(self, key: bytes) -> None:
        if key not in self._watches:  # nearly always; one that comes just now looks first
            return
        with self._lock:
            watches = list(self._watches.get(key, ()))
        for watch in watches:
            watch.ring()

    def notify_all(self) -> None:
        """Notices were lost, nobody knows of what."""
        with self._lock:
            watches = [watch for watches in self._watches.values() for watch in watches]
        for watch in watches:
            watch.ring()

    def watch(self, key: bytes) -> Watch:
        watch = _LocalWatch(self, key)
        with self._lock:
            self._watches.setdefault(key, []).append(watch)
        return watch

    def forget(self, key: bytes, watch: "_LocalWatch") -> None:
        """Ring it no more."""
        with self._lock:
            watches = self._watches.get(key, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self._watches.pop(key, None)


class _LocalWatch:
    def __init__(self, notifier: LocalNotifier, key: bytes) -> None:
        self._notifier = notifier
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()

    async def wait(self, limit: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._bell.wait()
        self._bell.clear()

    def ring(self) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._bell.set)

    def close(self) -> None:
        self._notifier.forget(self._key, self)
