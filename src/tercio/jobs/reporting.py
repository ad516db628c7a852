"""Say how runs went: in the log, in `/metrics`, and to the primary for `tercio status`."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Final

from tercio.jobs.job import Job
from tercio.jobs.result import Result
from tercio.metrics.metrics import Metrics

_log = logging.getLogger("tercio.jobs")

_PAUSE: Final = 1.0  # seconds between two messages to the primary
_TOGETHER: Final = 50  # jobs in a message
_ERROR: Final = 300  # characters of an error
_BUCKETS: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)

Tell = Callable[[Mapping[str, object]], None]


class Reporting:
    """What one process says of jobs."""

    def __init__(self, metrics: Metrics, tell: Tell | None) -> None:
        self._metrics = metrics
        self._tell = tell
        self._news: dict[str, dict[str, object]] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._is_resting = False
        self._is_new = False

    def ended(self, job: Job, result: Result, error: BaseException | None, due: float) -> None:
        """A run has ended, or does not take place; the next one is at ``due``."""
        match result.outcome:
            case "error":
                _log.error("job %s failed", job.name, exc_info=error)
            case "timeout":
                stays = "" if job.is_async else "; its thread cannot be stopped, and goes on"
                _log.error("job %s took longer than %g s%s", job.name, job.timeout, stays)
            case "lost":
                _log.error("job %s: %s", job.name, result.error)
            case "cancelled":
                _log.warning("job %s was cancelled: %s", job.name, result.error)
            case "missed":
                late = result.started - result.scheduled
                _log.warning(
                    "job %s was missed %.0f s ago, too long to make up for", job.name, late
                )
            case "skipped":
                _log.warning("job %s is left out: its last run still goes on", job.name)
            case "success":
                pass
        self._metrics.own_counter(
            "tercio_job_runs", "Runs of jobs, by how they ended", ("job", "outcome")
        ).inc(job=job.name, outcome=result.outcome)
        if result.took_place:
            self._metrics.own_histogram(
                "tercio_job_duration_seconds", "How long runs of jobs took", ("job",),
                buckets=_BUCKETS,
            ).observe(result.seconds, job=job.name)  # fmt: skip
        if result.outcome == "success":
            self.went_well(job.name, result.started + result.seconds)
        if result.took_place:
            self.planned(job, result, due)
        else:
            self.planned(job, None, due)

    def went_well(self, name: str, time: float) -> None:
        """When a run last ended well: told by each process that runs jobs, so that it stays."""
        self._metrics.own_gauge(
            "tercio_job_last_success_timestamp_seconds",
            "When a run last ended well, in Unix time",
            ("job",),
            mode="max",
        ).set(time, job=name)

    def introduce(self, jobs: Iterable[tuple[Job, Result | None, float]]) -> None:
        """Tell the primary of all jobs, as this process begins to run them."""
        self._is_new = True
        self._is_resting = True  # all at once
        for job, last, due in jobs:
            self.planned(job, last, due)
        self.flush()

    def planned(self, job: Job, last: Result | None, due: float) -> None:
        """Tell the primary of a job, its last run and the next."""
        if self._tell is None:
            return
        news = self._news.setdefault(job.name, {})
        news |= {"job": job.name, "schedule": job.schedule.text, "next": due if due < 2**53 else 0}
        if last is not None:
            facts = asdict(last)
            facts["error"] = last.error[:_ERROR]
            news |= facts
        self._send()

    def _send(self) -> None:
        if self._is_resting or not self._news or self._tell is None:
            return
        names = list(self._news)[:_TOGETHER]
        told = [self._news.pop(name) for name in names]
        self._tell({"type": "jobs", "jobs": told, "is_all": self._is_new})
        self._is_new = False
        self._is_resting = True
        self._flushing = asyncio.get_running_loop().call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._is_resting = False
        self._send()

    def flush(self) -> None:
        """Tell what waits; at the end."""
        if self._flushing is not None:
            self._flushing.cancel()
        self._is_resting = False
        self._send()


def in_a_line(error: BaseException) -> str:
    """What it says, for a table."""
    return traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
