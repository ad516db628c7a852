"""A thread that waits so that the loop does not: for the write lock, for large values, for disks.

One a process, started when it is first needed. What it does comes in the order in which it was
asked for, each with its own deadline.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tercio.errors import StateBusy, StateUnavailable
from tercio.state.verbs import Verb

_FAREWELL: Final = 2.0  # seconds for what is under way at the end


@dataclass(frozen=True, slots=True)
class _Job:
    verb: Verb[Any]
    deadline: float
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Waiter:
    """``work`` carries out a verb before a deadline, in this thread."""

    def __init__(self, work: Callable[[Verb[Any], float], Any]) -> None:
        self._work = work
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    async def run(self, verb: Verb[Any], limit: float) -> Any:
        """Have it done within ``limit`` seconds. A cancelled one is done or not, never half."""
        loop = asyncio.get_running_loop()
        job = _Job(verb, time.monotonic() + limit, loop, loop.create_future())
        self._start()
        self._jobs.put(job)
        return await job.answer

    def close(self) -> None:
        """Refuse what is left and wait for what is under way."""
        with self._starting:
            thread = self._thread
        if thread is not None:
            self._jobs.put(None)
            thread.join(_FAREWELL)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._live, name="tercio-state", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise StateBusy(f"the state cannot be waited for: {error}") from error
            self._thread = thread

    def _live(self) -> None:
        is_open = True
        while is_open or not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                is_open = False
                continue
            if job.answer.cancelled():
                continue
            answer: Any = None
            failure: Exception | None = None
            try:
                if not is_open:
                    raise StateUnavailable("the state was closed")
                answer = self._work(job.verb, job.deadline)
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # its loop is closed: nobody waits
                job.loop.call_soon_threadsafe(_settle, job.answer, answer, failure)


def _settle(future: asyncio.Future[Any], answer: Any, failure: Exception | None) -> None:
    if future.cancelled():
        return
    if failure is None:
        future.set_result(answer)
    else:
        future.set_exception(failure)
