"""One run of a job: what its function may know of it, and how it is carried out."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tercio.jobs.job import Job

_current: Final[ContextVar["Run"]] = ContextVar("tercio_job_run")


@dataclass(frozen=True, slots=True)
class Run:
    """What a job may know of its run: its parameter, or `current`."""

    name: str
    """The job's."""
    token: int
    """The fencing token: higher than that of any run that was begun before. Give it to what is
    written, and have lower ones refused there."""
    scheduled: datetime
    """The time for which it was due, in UTC."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another worker may have begun the job anew, as this one was stopped for too long."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when it should end: its time is over, its worker is to go, or it is lost. Coroutines are
    cancelled; a function in a thread can only look."""


def current() -> Run:
    """The run that this code is part of. Raises `RuntimeError` where there is none."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("jobs.current() is known inside of a job only") from None


@dataclass(slots=True)
class Ending:
    """How a function ended."""

    value: object = None
    error: BaseException | None = None


async def call(job: Job, run: Run) -> Ending:
    """Call the job's function; whatever it raises is in the answer, even SystemExit, which would
    end the loop. When it is cancelled a thread is left to itself.
    """
    _current.set(run)
    arguments = (run,) if job.takes_run else ()
    try:
        if job.is_async:
            return Ending(await job.function(*arguments))
        return await _in_thread(lambda: job.function(*arguments), job.name)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return Ending(error=error)


async def _in_thread(function: Callable[[], Any], name: str) -> Ending:
    """Not asyncio.to_thread: whoever overstays must hold neither the loop's end nor Python's."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Ending] = loop.create_future()
    context = copy_context()

    def settle(ending: Ending) -> None:
        if not answer.done():
            answer.set_result(ending)

    def work() -> None:
        try:
            ending = Ending(context.run(function))
        except BaseException as error:
            ending = Ending(error=error)
        try:
            loop.call_soon_threadsafe(settle, ending)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=f"tercio-job-{name}", daemon=True).start()
    return await answer
