"""The decorators declare, and say what cannot be meant."""

from datetime import timedelta
from typing import Any

import pytest

from tercio import cluster
from tercio.errors import ConfigError
from tercio.jobs.registry import JOBS
from tercio.jobs.run import Run


def test_a_decorator_returns_the_function_and_knows_its_job() -> None:
    @cluster.every(timedelta(minutes=5))
    def tidy() -> int:
        return 7

    @cluster.cron("0 3 * * *", tz="Europe/Berlin", name="report", drain="handover")
    async def report(run: Run) -> None:
        pass

    @cluster.once
    def migrate() -> None:
        pass

    assert tidy() == 7
    name = f"{__name__}.test_a_decorator_returns_the_function_and_knows_its_job.<locals>."
    assert [job.name for job in JOBS] == [f"{name}tidy", "report", f"{name}migrate"]
    assert [job.schedule.text for job in JOBS] == [
        "every 300 s", "0 3 * * * (Europe/Berlin)", "once",
    ]  # fmt: skip
    assert [job.is_async for job in JOBS] == [False, True, False]
    assert [job.takes_run for job in JOBS] == [False, True, False]


def nothing() -> None:
    pass


def needs_two(one: int, two: int) -> None:
    pass


@pytest.mark.parametrize(
    ("how", "options", "function", "says"),
    [
        ("every", {"period": 0}, nothing, "give a period of 0.05 s or more"),
        ("every", {"period": nothing}, nothing, "give a period"),
        ("every", {"period": "60"}, nothing, "give a period"),
        ("every", {"period": float("nan")}, nothing, "give a period"),
        ("every", {"period": 60, "overlap": "run"}, nothing, 'overlap is "skip" or "queue"'),
        ("every", {"period": 60, "drain": "kill"}, nothing, "drain is"),
        ("every", {"period": 60, "jitter": 60}, nothing, "no shorter than its period"),
        ("every", {"period": 60, "jitter": -1}, nothing, "jitter=-1 is no time"),
        ("every", {"period": 60, "misfire": "1m"}, nothing, "misfire='1m' is no time"),
        ("every", {"period": 60, "timeout": 0}, nothing, "timeout=0 is no time"),
        ("every", {"period": 60, "name": ""}, nothing, "printable text"),
        ("every", {"period": 60, "name": "x" * 201}, nothing, "at most 200 bytes"),
        ("every", {"period": 60}, needs_two, "needs arguments that nobody gives it"),
        ("every", {"period": 60}, "nothing", "stands before a function"),
        ("cron", {"expression": 5}, nothing, "cron takes an expression"),
        ("cron", {"expression": "0 3 * *"}, nothing, "cannot be understood"),
        ("once", {"key": 5}, nothing, "a key is text"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    how: str, options: dict[str, Any], function: Any, says: str
) -> None:
    given = dict(options)
    first = [given.pop(name) for name in ("period", "expression") if name in given]
    with pytest.raises(ConfigError, match=says) as caught:
        getattr(cluster, how)(*first, **given)(function)
    assert "\n" not in str(caught.value)
    assert len(JOBS) == 0


def test_two_jobs_of_one_name_are_an_error_and_one_that_is_loaded_again_is_not() -> None:
    def load() -> None:
        @cluster.every(60)
        def tidy() -> None:
            pass

    load()
    load()
    assert len(JOBS) == 1
    (job,) = JOBS
    with pytest.raises(ConfigError, match="two jobs are called"):
        cluster.every(5, name=job.name)(nothing)
