"""What the shared state knows of jobs: which due time was taken last, and how runs ended.

A due time is taken by compare-and-set before its run begins, so it is taken once, whoever believes
to be the runner. While a run is under way that somebody else would have to begin anew, the entry
has its token; what finds one there under the job's lock knows that it was not finished.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from tercio.jobs.job import Job
from tercio.jobs.result import Result
from tercio.jobs.schedule import Once
from tercio.state.lock import Lock
from tercio.state.state import State

NEVER: Final = -1.0
"""The due time of a job that runs once and has not."""

_KEPT: Final = 400 * 86400.0
"""Seconds that an entry stays which nobody touches: jobs are renamed, and get other schedules."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a job's schedule."""

    seen: float
    """The last due time that was taken, Unix seconds."""
    unfinished: int = 0
    """The token of the run that is to be begun anew unless it ends well; 0 for none."""


class Book:
    """In one namespace of the state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def lock(self, job: Job, ttl: float, timeout: float | None) -> Lock:
        """What a run holds: its token is the run's."""
        return self._state.lock(job.name, ttl=ttl, timeout=timeout)

    async def entry(self, job: Job, now: float) -> Entry:
        """The job's entry. One that nobody knows is watched from ``now`` on."""
        found = await self._state.get(_due(job), type=Entry)
        if found is None:
            first = Entry(NEVER) if isinstance(job.schedule, Once) else Entry(now)
            ttl = None if isinstance(job.schedule, Once) else _KEPT
            await self._state.set(_due(job), first, ttl=ttl, nx=True)
            found = await self._state.get(_due(job), type=Entry) or first
        return found

    async def take(self, job: Job, before: Entry, after: Entry) -> bool:
        """Replace an entry; False if another one was faster."""
        ttl = None if isinstance(job.schedule, Once) else _KEPT
        return await self._state.compare_and_set(_due(job), before, after, ttl=ttl)

    async def finish(self, job: Job, token: int) -> None:
        """The run with this token needs not be begun anew."""

        def finished(entry: Entry | None) -> Entry | None:
            if entry is None or entry.unfinished != token:
                return entry
            return Entry(entry.seen)

        ttl = None if isinstance(job.schedule, Once) else _KEPT
        await self._state.update(_due(job), finished, None, ttl=ttl, type=Entry)

    async def record(self, result: Result) -> None:
        """Keep how a run ended; what a later one has left stays."""

        def newer(last: Result | None) -> Result:
            return last if last is not None and last.token > result.token else result

        if result.took_place:
            await self._state.update(f"last:{result.job}", newer, None, type=Result, ttl=_KEPT)
        if result.outcome == "success":
            await self._state.update(
                f"well:{result.job}",
                lambda before: max(before, result.started + result.seconds),
                0.0,
                type=float,
                ttl=_KEPT,
            )

    async def last(self, job: Job) -> tuple[Result | None, float | None]:
        """How the job's last run ended, and when one last ended well."""
        result = await self._state.get(f"last:{job.name}", type=Result)
        return result, await self._state.get(f"well:{job.name}", type=float)


def _due(job: Job) -> str:
    # By its schedule as well: two releases that name another one run side by side in a reload.
    return f"due:{job.name}:{zlib.crc32(job.schedule.text.encode()):08x}"
