"""Run what is due: one worker of the cluster at a time does, and each due time is taken once.

The lease says who looks at the clock; that is for economy. What keeps a run from happening twice
is the book, where its due time is taken by compare-and-set, and the job's own lock, which a run
holds and which gives it its token. A run that goes on while its worker drains keeps its lock, and
another worker looks at the clock meanwhile.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from tercio.errors import LockLost, StateError
from tercio.jobs.book import Book
from tercio.jobs.doing import Attempt, Doing
from tercio.jobs.job import Job
from tercio.jobs.registry import JOBS, Registry
from tercio.jobs.reporting import Reporting, Tell
from tercio.jobs.result import Result
from tercio.jobs.run import Run
from tercio.jobs.schedule import plan
from tercio.metrics.metrics import Metrics
from tercio.state.keys import checked_ttl
from tercio.state.state import State

_log = logging.getLogger("tercio.jobs")

_NAMESPACE: Final = ".jobs"
_LONGEST_SLEEP: Final = 30.0  # seconds: the clock may be set meanwhile
_AGAIN: Final = 1.0  # seconds after which the state is asked again that failed


class Jobs:
    """``cluster.jobs``. In workers jobs run by themselves; elsewhere when `run_pending` says so."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        who: Callable[[], str] = str,
        tell: Tell | None = None,
        jobs: Registry = JOBS,
    ) -> None:
        """For Tercio alone. ``who`` is this worker's id, ``tell`` sends to the primary."""
        self._jobs = jobs
        self._state = state.namespace(_NAMESPACE)
        self._book = Book(self._state)
        self._clock = clock
        self._reporting = Reporting(metrics, tell)
        self._doing = Doing(self._book, self._reporting, clock, who)
        self._campaign: asyncio.Task[None] | None = None
        self._attempts: dict[str, Attempt] = {}
        self._woken = asyncio.Event()
        self._since: float | None = None
        self._is_ending = False
        self._deadline: asyncio.TimerHandle | None = None
        self._deadline_at = float("inf")

    # For applications and tests

    @property
    def takeover(self) -> float:
        """Seconds after which another worker takes the jobs over from one that was killed or hangs.

        To be set where jobs are declared: ``cluster.jobs.takeover = 30``.
        """
        return self._doing.takeover

    @takeover.setter
    def takeover(self, seconds: float) -> None:
        checked_ttl(seconds)
        self._doing.takeover = seconds

    async def run_pending(self) -> list[Result]:
        """Run all that is due now, and return how it went; for tests, with ``tercio_clock``.

        The first call plans: from then on time counts. What jobs raise is in the results. Raises
        `StateError`.
        """
        if self._since is None:
            self._since = self._clock()
        results = []
        for job in self._jobs:
            attempt = Attempt(job)
            if (result := await self._doing.attempt(attempt, self._since, wait=False)) is not None:
                results.append(result)
        return results

    async def run(self, name: str) -> object:
        """Run a job now, whether or not it is due, and return what its function returns.

        Waits while a run of it goes on anywhere; its schedule stays as it is. Raises what the
        function raises, `TimeoutError` after its time-out, `KeyError` for an unknown name, and
        `StateError`.
        """
        job = self._jobs[name]
        attempt = Attempt(job)
        async with self._book.lock(job, self.takeover, None) as lock:
            now = self._clock()
            run = attempt.run = Run(job.name, lock.token, datetime.fromtimestamp(now, UTC))
            ending = await self._doing.carry_out(attempt, run, now)
        if ending.error is not None:
            raise ending.error
        return ending.value

    # For the worker

    def start(self) -> None:
        """Campaign to be the one that runs jobs. In the loop; again does nothing."""
        if self._campaign is None and len(self._jobs) and not self._is_ending:
            loop = asyncio.get_running_loop()
            self._campaign = loop.create_task(self._lead(), name="tercio-jobs")

    def pause(self) -> None:
        """Let another worker run jobs from now on; what runs goes on."""
        campaign, self._campaign = self._campaign, None
        if campaign is not None:
            campaign.cancel()
        for attempt in list(self._attempts.values()):
            if attempt.run is None and attempt.task is not None:
                attempt.task.cancel()

    def end(self, limit: float) -> None:
        """The worker is to go within ``limit`` seconds: do with each run what its job says."""
        loop = asyncio.get_running_loop()
        if not self._is_ending:
            self._is_ending = True
            self.pause()
            for attempt in list(self._attempts.values()):
                if attempt.job.drain != "wait" and attempt.run is not None:
                    attempt.run.stop.set()
                    if attempt.job.is_async:  # a thread has to end by itself
                        self._cancel(attempt, "its worker is to go")
        if loop.time() + limit < self._deadline_at:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline_at = loop.time() + limit
            self._deadline = loop.call_later(limit, self._cut)

    async def ended(self) -> None:
        """Return when nothing runs any more; after `end`."""
        while tasks := [each.task for each in self._attempts.values() if each.task is not None]:
            await asyncio.wait(tasks)
        if self._deadline is not None:
            self._deadline.cancel()
        self._reporting.flush()

    async def close(self) -> None:
        """End all at once."""
        campaign = self._campaign
        self.end(0.0)
        self._cut()
        if campaign is not None:
            await asyncio.wait({campaign})
        await self.ended()

    def _cut(self) -> None:
        for attempt in list(self._attempts.values()):
            if attempt.run is not None:
                attempt.run.stop.set()
            self._cancel(attempt, "it was not done when its worker had to go")

    def _cancel(self, attempt: Attempt, why: str) -> None:
        attempt.why = attempt.why or why
        if attempt.task is not None:
            attempt.task.cancel()

    # The clock

    async def _lead(self) -> None:
        known = sorted(f"{job.name} {job.schedule.text}" for job in self._jobs)
        # Another release, or another application at the same server, has other jobs, which somebody
        # has to run as well; what they have in common is taken once all the same.
        name = f"{zlib.crc32(repr(known).encode()):08x}"
        while True:
            try:
                async with self._state.leader(name, ttl=self.takeover):
                    what = "job" if len(known) == 1 else f"{len(known)} jobs"
                    _log.info("this worker runs the %s of the cluster", what)
                    await self._watch()
            except LockLost:
                _log.warning("another worker runs the jobs: this one did not get to run for long")
            except StateError as error:
                _log.warning("jobs cannot be run: %s", error)
                await asyncio.sleep(_AGAIN)
            except Exception:  # of ours; jobs that stop for good would be worse
                _log.exception("jobs cannot be run")
                await asyncio.sleep(_AGAIN)

    async def _watch(self) -> None:
        since = self._clock()
        await self._introduce(since)
        while True:
            self._woken.clear()
            wake = min([await self._look(job, since) for job in self._jobs])
            pause = min(max(wake - self._clock(), 0.0), _LONGEST_SLEEP)
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _introduce(self, now: float) -> None:
        """Tell what earlier workers have left: their metrics have gone with them."""
        found = []
        for job in self._jobs:
            result, well = await self._book.last(job)
            if well is not None:
                self._reporting.went_well(job.name, well)
            found.append((job, result, job.schedule.after(now)))
        self._reporting.introduce(found)

    async def _look(self, job: Job, since: float) -> float:
        """Begin a job if it is due. The answer: when to look again."""
        now = self._clock()
        entry = await self._book.entry(job, now)
        judged = plan(
            job.schedule, entry.seen, now, since=since, misfire=job.misfire,
            jitter=job.jitter, name=job.name,
        )  # fmt: skip
        is_due = judged.due is not None or self._doing.is_open(job, entry)
        if job.name in self._attempts:
            if judged.due is not None and job.overlap == "skip":
                await self._doing.leave_out(job, entry, judged.due, "skipped")
            return judged.wake
        if judged.missed is not None:
            await self._doing.leave_out(job, entry, judged.missed, "missed")
        if is_due:
            attempt = self._attempts[job.name] = Attempt(job)
            task = asyncio.get_running_loop().create_task(
                self._attempt(attempt, since), name=f"tercio-job-{job.name}"
            )
            attempt.task = task
            task.add_done_callback(lambda _: self._done(attempt))
        return judged.wake

    def _done(self, attempt: Attempt) -> None:
        if self._attempts.get(attempt.job.name) is attempt:
            del self._attempts[attempt.job.name]
        self._woken.set()

    # A run

    async def _attempt(self, attempt: Attempt, since: float) -> None:
        try:
            await self._doing.attempt(attempt, since, wait=attempt.job.overlap == "queue")
        except LockLost:
            pass  # reported where it was noticed
        except StateError as error:
            _log.warning("job %s: %s", attempt.job.name, error)
            await asyncio.sleep(_AGAIN)
        except Exception:  # of ours: what the function raises is in its ending
            _log.exception("job %s could not be run", attempt.job.name)
            await asyncio.sleep(_AGAIN)
