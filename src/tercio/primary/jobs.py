"""What workers said of the jobs that they run for all; the primary itself cannot read the state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tercio.core.model import WorkerId
from tercio.redaction import redact

MOST: Final = 500
"""Jobs that are known; of the rest the status is silent."""

_LONGEST: Final = 400  # characters of a text
_LARGEST: Final = 2**53
_TEXTS: Final = ("job", "schedule", "outcome", "error", "runner")
_NUMBERS: Final = ("next", "scheduled", "started", "seconds", "token")


@dataclass(frozen=True, slots=True)
class JobNews:
    """What a worker says of some jobs."""

    worker: WorkerId
    jobs: tuple[Mapping[str, object], ...]
    is_all: bool
    """It has begun to run jobs, and these are the first of all that there are."""


class JobBoard:
    """The last news of each job."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, object]] = {}

    def take(self, news: JobNews) -> None:
        """Keep what is newer than what is known."""
        if news.is_all:
            self._jobs.clear()
        for facts in news.jobs:
            name = str(facts["job"])
            known = self._jobs.get(name)
            if known is None:
                if len(self._jobs) == MOST:
                    continue
                known = self._jobs[name] = {"job": name}
            if _whole(facts.get("token")) < _whole(known.get("token")):
                # A run that was lost has ended after its successor.
                facts = {"schedule": facts.get("schedule", "")}
            known.update(facts)

    def describe(self) -> list[dict[str, object]]:
        """For `status`: by name; times are None where there are none."""
        return [
            {
                "job": name,
                "schedule": facts.get("schedule", ""),
                "next_run": facts.get("next") or None,
                "last_run": facts.get("started") or None,
                "scheduled": facts.get("scheduled") or None,
                "seconds": facts.get("seconds"),
                "outcome": facts.get("outcome", ""),
                "error": facts.get("error", ""),
                "token": _whole(facts.get("token")),
                "runner": facts.get("runner", ""),
            }
            for name, facts in sorted(self._jobs.items())
        ]


def news_of(who: WorkerId, message: Mapping[str, object]) -> JobNews:
    """What is usable of a message; a worker runs user code, so nothing is taken on trust."""
    told = message.get("jobs")
    jobs = []
    for facts in told if isinstance(told, list) else ():
        if isinstance(facts, dict) and isinstance(facts.get("job"), str) and facts["job"]:
            clean: dict[str, object] = {}
            for key in _TEXTS:
                if isinstance(value := facts.get(key), str):
                    clean[key] = redact(value[:_LONGEST])
            for key in _NUMBERS:
                value = facts.get(key)
                # Also false for NaN, which Python's JSON lets through; a bool is a 0 or a 1.
                if isinstance(value, int | float) and abs(value) < _LARGEST:
                    clean[key] = value
            jobs.append(clean)
    return JobNews(who, tuple(jobs), message.get("is_all") is True)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
