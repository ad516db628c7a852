"""Call the functions that a deployment names for moments in a worker's life.

    import -> start -> lifespan start-up -> ready -> … -> drain -> lifespan shut-down -> exit

Start hooks belong to the boot: they run in the main thread, and their failure is the boot's.
Whatever the others do, the worker goes on: a failure is logged and counted, and their time is
bounded. Coroutines run in the loop; a plain function gets a thread of its own, so that it holds no
request.
"""

import asyncio
import functools
import importlib
import inspect
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Final, cast

from tercio.config import Config
from tercio.dataplane.scoreboard import Field, Row
from tercio.errors import AppNotFound
from tercio.hooks import HookedWorker
from tercio.servers import tasks
from tercio.worker import importer

_log = logging.getLogger("tercio.worker")

_LEAST: Final = 0.25  # seconds that a hook gets where its worker has hardly any left

_MOMENTS: Final = ("start", "ready", "drain", "exit")

_Hook = Callable[..., object]


class LifeHooks:
    """The hooks of one worker. Everything but `load` runs in the loop."""

    def __init__(
        self, config: Config, worker: HookedWorker, row: Row, note: Callable[[str, str], None]
    ) -> None:
        self._names: dict[str, tuple[str, ...]] = {
            moment: getattr(config, f"on_worker_{moment}") for moment in _MOMENTS
        }
        self._limit = config.hook_timeout
        self._worker = worker
        self._row = row
        self._note = note
        self._found: dict[str, _Hook] | None = None
        self._has_begun = False
        self._reason = ""
        self._ends: float | None = None

    def load(self) -> None:
        """Import all that are named, so that a wrong name is found now, not at the end.

        Raises `AppNotFound`, and whatever the modules raise.
        """
        if self._found is None:
            named = ((name, moment) for moment in _MOMENTS for name in self._names[moment])
            self._found = {name: _find(name, moment) for name, moment in named}

    async def start(self) -> None:
        """Call the start hooks. Raises what they raise."""
        self.load()
        self._has_begun = True  # an exit hook cleans up what half of a start has made
        for name in self._names["start"]:
            result = self._call(name)
            if inspect.isawaitable(result):
                await result

    def leave(self, reason: str, limit: float) -> None:
        """The worker is told to leave within ``limit`` seconds."""
        self._reason = reason
        self._ends = time.monotonic() + limit

    async def run(self, moment: str) -> None:
        """Call the others of a moment, one after the other."""
        if not self._has_begun:
            return
        for name in self._names[moment]:
            bound = self._limit
            if self._ends is not None:
                bound = min(bound, max(self._ends - time.monotonic(), _LEAST))
            if (fault := await self._within(bound, name)) is not None:
                self._complain(moment, name, *fault)

    async def _within(self, bound: float, name: str) -> tuple[str, BaseException | None] | None:
        """Call a hook, and say what went wrong."""
        # A task of its own: what a hook cancels is itself.
        task = tasks.hide(asyncio.create_task(self._outcome(name), name=f"tercio-hook-{name}"))
        try:
            await asyncio.wait({task}, timeout=bound)
        finally:
            task.cancel()  # no effect once it is done
        if not task.done():
            return f"took longer than {bound:g} s", None
        if task.cancelled():
            return "cancelled itself", None
        error = task.result()
        return None if error is None else (f"raised {type(error).__name__}: {error}", error)

    async def _outcome(self, name: str) -> BaseException | None:
        try:
            await self._wait_for(name)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # also SystemExit, which would end the loop
            return error
        return None

    def _call(self, name: str) -> object:
        assert self._found is not None
        hook = self._found[name]
        return hook(self._told()) if _takes_one(hook) else hook()

    async def _wait_for(self, name: str) -> None:
        assert self._found is not None
        if inspect.iscoroutinefunction(self._found[name]):
            await cast("Awaitable[object]", self._call(name))
            return
        result = await _in_thread(functools.partial(self._call, name), name)
        if inspect.isawaitable(result):
            await result

    def _told(self) -> HookedWorker:
        worker = self._worker
        return HookedWorker(
            worker.cluster,
            worker.slot,
            worker.incarnation,
            worker.generation,
            os.getpid(),
            self._reason,
        )

    def _complain(self, moment: str, name: str, what: str, error: BaseException | None) -> None:
        self._row[Field.HOOK_ERRORS] += 1
        if error is not None:
            importer.explain(error)  # its traceback begins at the hook's own frames from now on
        _log.error("hook %s failed", name, exc_info=error)
        self._note("warning", f"--on-worker-{moment} {name} {what}")


def _find(name: str, moment: str) -> _Hook:
    module_name, _, attributes = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only if it is the named module that is missing, not one that it imports.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise AppNotFound(f"--on-worker-{moment} {name}: no module named {error.name!r}") from None
    try:
        found: object = functools.reduce(getattr, attributes.split("."), cast("Any", module))
    except AttributeError:
        raise AppNotFound(
            f"--on-worker-{moment} {name}: {module_name!r} has no {attributes!r}"
        ) from None
    if not callable(found):
        raise AppNotFound(
            f"--on-worker-{moment} {name}: it is a {type(found).__name__}, not a function"
        )
    return found


def _takes_one(hook: _Hook) -> bool:
    """Whether it wants to know the worker; one without a parameter is called without."""
    try:
        inspect.signature(hook).bind(None)
    except TypeError:
        return False
    except ValueError:  # of C, without a signature
        return True
    return True


async def _in_thread(call: Callable[[], object], name: str) -> object:
    """Not asyncio.to_thread: whoever overstays must hold neither the loop's end nor Python's."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()

    def settle(result: object, error: BaseException | None) -> None:
        if not answer.done():
            if error is None:
                answer.set_result(result)
            elif isinstance(error, StopIteration):  # no future takes one
                answer.set_exception(RuntimeError(f"StopIteration: {error}"))
            else:
                answer.set_exception(error)

    def work() -> None:
        result: object = None
        failure: BaseException | None = None
        try:
            result = copied.run(call)
        except BaseException as error:
            failure = error
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    copied = copy_context()
    threading.Thread(target=work, name=f"tercio-hook-{name}", daemon=True).start()
    return await answer
