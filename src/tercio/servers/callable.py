"""The "server" of a program that is no web application: it runs a function, and serves nothing."""

import asyncio
import inspect
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, cast

from tercio import cluster
from tercio.callable import ThreadWorker, Worker
from tercio.config import Config
from tercio.errors import AppStartFailed
from tercio.http.asgi import App
from tercio.http.hooks import Hooks
from tercio.servers.port import Away, Cut

_log = logging.getLogger("tercio.worker")

_REMINDER: Final = 5.0  # seconds without `ready` after which its absence is worth a note
_LAST_WORDS: Final = 0.1  # seconds for a function that was cancelled


class CallableServer:
    """See `port.Server`. ``over`` is called with an exit code when the function ends by itself."""

    def __init__(self, config: Config, note: Callable[[str, str], None]) -> None:
        self.certified: Callable[[int], None] = lambda expires: None
        self.over: Callable[[int], None] = lambda code: None
        self._config = config
        self._note = note
        self._worker: Worker | ThreadWorker | None = None
        self._listeners: Sequence[socket.socket] = ()
        self._run: asyncio.Task[int] | None = None
        self._is_ready = asyncio.Event()
        self._is_leaving = False
        self._deadline = float("inf")
        self._sharpened = asyncio.Event()
        self._cut = False

    async def start(self, app: App, listeners: Sequence[socket.socket], hooks: Hooks) -> None:
        loop = asyncio.get_running_loop()
        self._listeners = listeners
        for listener in listeners:
            listener.setblocking(False)
        main = cast("Callable[[object], object]", app)
        who = cluster.worker
        here = (who.slot, who.incarnation, who.generation, listeners)
        if _is_async(main):
            worker = self._worker = Worker(*here, self._is_ready.set, hooks, self._config.backlog)
            life = cast("Callable[[object], Awaitable[object]]", main)
            self._run = loop.create_task(_outcome(life(worker)), name="main")
        else:

            def say_ready() -> None:
                with suppress(RuntimeError):  # the loop is closed: this worker is ending
                    loop.call_soon_threadsafe(self._is_ready.set)

            threaded = self._worker = ThreadWorker(*here, say_ready)
            self._run = loop.create_task(_in_a_thread(main, threaded), name="main")
        reminder = loop.call_later(_REMINDER, self._remind)
        ready = loop.create_task(self._is_ready.wait())
        try:
            await asyncio.wait({ready, self._run}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reminder.cancel()
            ready.cancel()
        if self._is_ready.is_set():
            self._run.add_done_callback(self._ended)
            return
        if self._run.cancelled() or (error := self._run.exception()) is None:
            raise AppStartFailed(f"{self._config.app} ended before it called worker.ready()")
        raise AppStartFailed(f"{type(error).__name__}: {error}") from error

    async def serve(self) -> None:
        if self._worker is not None and not self._is_leaving:
            self._worker.let_work(is_serving=True)

    async def park(self) -> None:
        if self._worker is not None and not self._is_leaving:
            self._worker.let_work(is_serving=False)

    def steal(self, listeners: Sequence[socket.socket], count: int) -> int:
        return 0  # it accepts from its own listeners, if from any

    async def probe(self, path: str) -> int:
        raise AssertionError("--ready-path is refused with --interface callable")

    async def drain(
        self,
        limit: float,
        quiet: float,
        close_code: int,
        close_at_once: bool,
        away: Away | None = None,
    ) -> Cut:
        loop = asyncio.get_running_loop()
        self._is_leaving = True
        self._deadline = min(self._deadline, loop.time() + limit)
        self._sharpened.set()
        if self._worker is None or self._run is None:
            return Cut()
        self._worker.drain()
        while not self._run.done() and loop.time() < self._deadline:
            self._sharpened.clear()
            sharpened = loop.create_task(self._sharpened.wait())
            try:
                await asyncio.wait(
                    {self._run, sharpened},
                    timeout=self._deadline - loop.time(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                sharpened.cancel()
        if not self._run.done():
            self._cut = True
            self._run.cancel("the drain is over")
            await asyncio.wait({self._run}, timeout=_LAST_WORDS)
        return Cut(1, 0, (self._config.app,)) if self._cut else Cut()

    async def stop(self) -> None:
        await self.drain(0.0, 0.0, 1001, True)

    def owned_fds(self) -> list[int]:
        return [listener.fileno() for listener in self._listeners]

    def _remind(self) -> None:
        self._note("warning", f"{self._config.app} has not called worker.ready() yet")

    def _ended(self, run: "asyncio.Task[int]") -> None:
        """The function is over: as it was told, or by itself, which ends the worker."""
        error = None if run.cancelled() else run.exception()
        app = self._config.app
        if error is not None:
            _log.error("%s failed", app, exc_info=error)
        if self._is_leaving:
            return
        if error is not None:
            self._note("error", f"{app} failed, the worker ends: {type(error).__name__}: {error}")
        else:
            self._note("warning", f"{app} returned before it was told to go; the worker ends")
        self.over(1 if error is not None or run.cancelled() else run.result())


def _is_async(main: object) -> bool:
    call = getattr(main, "__call__", main)  # noqa: B004
    return inspect.iscoroutinefunction(main) or inspect.iscoroutinefunction(call)


async def _outcome(life: Awaitable[object]) -> int:
    """Run to the end and return the exit code, if it is this that ends the worker."""
    try:
        await life
    except SystemExit as error:
        return _code(error)
    return 0


async def _in_a_thread(main: Callable[[ThreadWorker], object], worker: ThreadWorker) -> int:
    """Run ``main`` in a thread of its own. One that does not end holds up no exit."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            main(worker)
        except BaseException as error:
            failures.append(error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="main", daemon=True).start()
    await ended.wait()
    match failures:
        case [SystemExit() as error]:
            return _code(error)
        case [error]:
            raise error
        case _:
            return 0


def _code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
