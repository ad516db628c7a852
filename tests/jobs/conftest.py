"""Jobs of several processes over one state, and a registry of their own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tercio.engines.local.state import LocalState
from tercio.jobs import Jobs
from tercio.jobs.registry import JOBS
from tercio.metrics.metrics import LocalMetrics
from tercio.state.notifier import LocalNotifier
from tercio.state.state import State
from tercio.testing.clock import Clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_jobs() -> Iterator[None]:
    """What a test declares is forgotten."""
    JOBS.forget()
    yield
    JOBS.forget()


@dataclass
class Workers:
    """Makes the jobs of one more process."""

    clock: Clock
    told: list[dict[str, Any]] = field(default_factory=list)
    made: list[Jobs] = field(default_factory=list)
    metrics: list[LocalMetrics] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._engine = LocalState(self.clock)
        self._notifier = LocalNotifier()

    @property
    def state(self) -> State:
        return State(self._engine, self._notifier)

    def __call__(self) -> Jobs:
        number = len(self.made)
        self.metrics.append(LocalMetrics())
        jobs = Jobs(
            self.state, self.metrics[-1], self.clock,
            who=lambda: f"{number}.1", tell=lambda message: self.told.append(dict(message)),
        )  # fmt: skip
        self.made.append(jobs)
        return jobs

    def counted(self, job: str, outcome: str) -> float:
        """Runs that ended so, at all workers."""
        return sum(
            metrics.read().value("tercio_job_runs_total", job=job, outcome=outcome) or 0
            for metrics in self.metrics
            if "tercio_job_runs_total" in metrics.text()
        )


@pytest.fixture
async def workers(tercio_clock: Clock) -> AsyncIterator[Workers]:
    made = Workers(tercio_clock)
    yield made
    for jobs in made.made:
        await jobs.close()


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """A bound for a wait."""
    async with asyncio.timeout(30):
        yield
