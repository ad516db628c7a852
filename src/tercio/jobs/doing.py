"""Do one run: take its due time under the job's lock, call the function, keep how it ended."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tercio.errors import LockTaken, StateError
from tercio.jobs.book import NEVER, Book, Entry
from tercio.jobs.job import Job
from tercio.jobs.reporting import Reporting, in_a_line
from tercio.jobs.result import Outcome, Result
from tercio.jobs.run import Ending, Run, call
from tercio.jobs.schedule import Once, plan

_log = logging.getLogger("tercio.jobs")

TAKEOVER: Final = 10.0


@dataclass(slots=True, eq=False)
class Attempt:
    """A task that runs a job, or waits for its lock."""

    job: Job
    task: "asyncio.Task[object] | None" = None
    run: Run | None = None
    """Once it has begun."""
    why: str = ""
    """Why it is cancelled."""


class Doing:
    """The runs of one process."""

    def __init__(
        self, book: Book, reporting: Reporting, clock: Callable[[], float], who: Callable[[], str]
    ) -> None:
        self.takeover: float = TAKEOVER
        self._book = book
        self._reporting = reporting
        self._clock = clock
        self._who = who
        self._tried: set[str] = set()  # jobs that run once and raised here

    def is_open(self, job: Job, entry: Entry) -> bool:
        """Whether a run is to be begun, or begun anew, whatever the time."""
        is_new = entry.seen == NEVER and isinstance(job.schedule, Once)
        return (is_new or entry.unfinished != 0) and job.name not in self._tried

    async def leave_out(self, job: Job, entry: Entry, point: float, outcome: Outcome) -> None:
        if await self._book.take(job, entry, Entry(point, entry.unfinished)):
            now = self._clock()
            result = Result(job.name, outcome, point, now, runner=self._who())
            self._reporting.ended(job, result, None, job.schedule.after(now))

    async def attempt(self, attempt: Attempt, since: float, *, wait: bool) -> Result | None:
        """Run the job if it is still due when its lock is ours."""
        job = attempt.job
        entry = await self._book.entry(job, self._clock())
        # One that is to be begun anew if it ends badly is waited for: it may.
        timeout = None if wait or entry.unfinished else 0.0
        try:
            async with self._book.lock(job, self.takeover, timeout) as lock:
                return await self._begin(attempt, lock.token, lock.lost, since)
        except LockTaken:
            judged = plan(job.schedule, entry.seen, self._clock(), since=since, misfire=job.misfire)
            if judged.due is not None:
                await self.leave_out(job, entry, judged.due, "skipped")
            return None

    async def _begin(
        self, attempt: Attempt, token: int, lost: asyncio.Event, since: float
    ) -> Result | None:
        job, now = attempt.job, self._clock()
        entry = await self._book.entry(job, now)
        judged = plan(
            job.schedule, entry.seen, now, since=since, misfire=job.misfire,
            jitter=job.jitter, name=job.name,
        )  # fmt: skip
        point = judged.due
        if point is None:
            if not self.is_open(job, entry):
                return None
            point = now if entry.seen == NEVER else entry.seen
        taken = Entry(point, token if job.drain == "handover" else 0)
        if isinstance(job.schedule, Once):
            taken = Entry(point, token)  # until it has ended well
        if not await self._book.take(job, entry, taken):
            return None
        run = Run(job.name, token, datetime.fromtimestamp(point, UTC))
        attempt.run = run
        began = time.monotonic()
        try:
            ending = await self.carry_out(attempt, run, point)
        except asyncio.CancelledError:
            run.stop.set()
            if lost.is_set():
                run.lost.set()
                why: str = f"another worker may run it: it held its lock of {self.takeover:g} s"
                why += " without renewing it"
                self._report(attempt, run, point, now, began, "lost", None, why)
            else:
                why = attempt.why or "its task was cancelled"
                result = self._report(attempt, run, point, now, began, "cancelled", None, why)
                await self._keep(attempt, result, is_over=job.drain == "cancel")
            raise
        return await self._conclude(attempt, run, point, now, began, ending)

    async def carry_out(self, attempt: Attempt, run: Run, point: float) -> Ending:
        """Call the function, within its time. What is cancelled may clean up."""
        job = attempt.job
        loop = asyncio.get_running_loop()
        work = loop.create_task(call(job, run), name=f"tercio-job-{job.name}-run")
        began, now = time.monotonic(), self._clock()
        try:
            await asyncio.wait({work}, timeout=job.timeout)
            if not work.done():
                error = TimeoutError(f"job {job.name} took longer than {job.timeout:g} s")
                run.stop.set()
                self._report(attempt, run, point, now, began, "timeout", error)
                if job.is_async:
                    work.cancel()
                await asyncio.wait({work})
                return Ending(error=_TimedOut(str(error)))
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            raise
        if work.cancelled():
            return Ending(error=RuntimeError("it cancelled itself"))
        return work.result()

    async def _conclude(
        self, attempt: Attempt, run: Run, point: float, now: float, began: float, ending: Ending
    ) -> Result:
        job, error = attempt.job, ending.error
        is_once = isinstance(job.schedule, Once)
        if isinstance(error, _TimedOut):
            result = self._result(job, run, point, now, began, "timeout", error)
        elif error is not None:
            result = self._report(attempt, run, point, now, began, "error", error)
        else:
            result = self._report(attempt, run, point, now, began, "success", None)
        if is_once and error is not None:
            self._tried.add(job.name)
        await self._keep(attempt, result, is_over=not (is_once and error is not None))
        return result

    async def _keep(self, attempt: Attempt, result: Result, *, is_over: bool) -> None:
        try:
            if is_over:
                await self._book.finish(attempt.job, result.token)
            await self._book.record(result)
        except StateError as error:
            _log.warning("how job %s ended could not be kept: %s", attempt.job.name, error)

    def _report(
        self,
        attempt: Attempt,
        run: Run,
        point: float,
        now: float,
        began: float,
        outcome: Outcome,
        error: BaseException | None,
        why: str = "",
    ) -> Result:
        job = attempt.job
        result = self._result(job, run, point, now, began, outcome, error, why)
        self._reporting.ended(job, result, error, job.schedule.after(self._clock()))
        return result

    def _result(
        self,
        job: Job,
        run: Run,
        point: float,
        now: float,
        began: float,
        outcome: Outcome,
        error: BaseException | None,
        why: str = "",
    ) -> Result:
        seconds = round(time.monotonic() - began, 6)
        text = in_a_line(error) if error is not None else why
        return Result(job.name, outcome, point, now, seconds, text, run.token, self._who())


class _TimedOut(TimeoutError):
    """Was reported when its time was over."""
