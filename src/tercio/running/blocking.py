"""A launched cluster for programs without an event loop: the same calls, and they wait.

The loop turns in a thread of its own, so calls may come from any thread.
"""

import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tercio.running.feed import Reader

if TYPE_CHECKING:
    from tercio.cli.client import Message
    from tercio.running.running import Running
    from tercio.running.start import Launch
    from tercio.running.views import Event, WorkerMessage, WorkerStatus

T = TypeVar("T")


class BlockingRunning:
    """See `Running`, whose members these are."""

    def __init__(self, running: "Running", portal: BlockingPortal) -> None:
        self._running = running
        self._portal = portal
        self.directory: Path = running.directory
        self.addresses: tuple[str, ...] = running.addresses
        self.name: str = running.name
        self.process: subprocess.Popen[bytes] = running.process
        self.pid: int = running.pid

    @property
    def workers(self) -> "tuple[WorkerStatus, ...]":
        return self._running.workers

    @property
    def messages_missed(self) -> int:
        return self._running.messages_missed

    def status(self) -> "Message":
        return self._portal.call(self._running.status)

    def reload(self) -> int:
        return self._portal.call(self._running.reload)

    def scale(self, to: int | str) -> int:
        return self._portal.call(self._running.scale, to)

    def recycle(self, slot: int | None = None) -> tuple[str, ...]:
        return self._portal.call(self._running.recycle, slot)

    def send(self, slot: int, message: object) -> None:
        self._portal.call(self._running.send, slot, message)

    def messages(self) -> "Iterator[WorkerMessage]":
        async def read() -> "Reader[WorkerMessage]":
            return self._running.messages()

        return self._each(self._portal.call(read))

    def dump(self, slot: int) -> str:
        return self._portal.call(self._running.dump, slot)

    def stop(self, *, now: bool = False) -> int:
        return self._call(lambda: self._running.stop(now=now))

    def wait(self) -> int:
        return self._portal.call(self._running.wait)

    def events(self, *, since: int | None = None) -> "Iterator[Event]":
        async def read() -> "Reader[Event]":
            return self._running.events(since=since)

        return self._each(self._portal.call(read))

    def _each(self, reader: Reader[T]) -> Iterator[T]:
        with suppress(StopAsyncIteration):
            while True:
                yield self._call(reader.__anext__)

    def _call(self, function: "Callable[[], Coroutine[Any, Any, T]]") -> T:
        result: T = self._portal.call(function)
        return result


@contextmanager
def in_a_thread(launched: "Launch") -> Iterator[BlockingRunning]:
    """Enter a launch in a loop of its own."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(launched) as running,
    ):
        yield BlockingRunning(running, portal)
