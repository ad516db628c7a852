"""A server that stays for the tests of a module, and its loop, which runs while they want it to."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from tercio.http.asgi import App
from tests.http.harness import LIMIT, Running, factory, serving
from tests.http.recording import Recorder, Seen
from tests.http.wire import Wire, exchange

T = TypeVar("T")


class Place:
    """One loop, one server, and what its application saw."""

    def __init__(self, runner: asyncio.Runner, recorder: Recorder, running: Running) -> None:
        self._runner = runner
        self.recorder = recorder
        self.running = running

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def exchange(
        self, pieces: Iterable[bytes], *, finish: bool = False
    ) -> tuple[bytes, list[Seen]]:
        """What a connection that sends these pieces got, and what the application saw.

        The client waits for the end of the connection; ``finish`` makes it say that it sends no
        more. Whatever was sent, nothing may be left of it.
        """
        return self.run(self._exchange(pieces, finish))

    async def _exchange(self, pieces: Iterable[bytes], finish: bool) -> tuple[bytes, list[Seen]]:
        seen: list[Seen] = []
        self.recorder.seen = seen
        received = await exchange(self.running.address, pieces, finish=finish)
        await self.settle()
        return received, seen

    async def settle(self) -> None:
        """Wait until no connection, request or task is left, and look for complaints."""
        counts = self.running.counts
        async with asyncio.timeout(LIMIT):
            while counts.connections or counts.in_flight or len(asyncio.all_tasks()) > self._tasks:
                await asyncio.sleep(0)
        assert self.running.errors() == []
        assert self.running.complaints == []

    @property
    def _tasks(self) -> int:
        """This one, and that of the lifespan."""
        return 2

    def wire(self) -> Wire:
        return Wire(self.running.address)


@contextlib.contextmanager
def place(loop: str, app: App | None = None, **options: Any) -> Iterator[Place]:
    """A server until the end of the context, with a `Recorder` unless told."""
    recorder = Recorder()
    serves = serving(app or recorder, **options)
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        running = runner.run(serves.__aenter__())
        try:
            yield Place(runner, recorder, running)
        finally:
            runner.run(serves.__aexit__(None, None, None))
