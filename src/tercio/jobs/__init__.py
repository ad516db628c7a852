"""Jobs that run once per cluster."""

from tercio.jobs.jobs import Jobs
from tercio.jobs.registry import cron, every, once
from tercio.jobs.result import Result
from tercio.jobs.run import Run, current

__all__ = ["Jobs", "Result", "Run", "cron", "current", "every", "once"]
