"""The decorators, and what they have declared. They declare only: any process may import a module
with jobs in it, and nothing begins by that.
"""

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, overload

from tercio.errors import ConfigError
from tercio.jobs.job import MISFIRE, Function, Job, OnDrain, Overlap
from tercio.jobs.schedule import SHORTEST, Cron, Every, Once, Schedule

F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """The jobs of a process, by name."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, name: str) -> Job:
        """Raises `KeyError` that says which there are."""
        try:
            return self._jobs[name]
        except KeyError:
            raise KeyError(
                f"no job {name!r}; there are: {', '.join(self._jobs) or 'none'}"
            ) from None

    def add(self, job: Job) -> None:
        """Raises `ConfigError` for a job that cannot be meant, or a name that another one has."""
        job.check()
        other = self._jobs.get(job.name)
        if other is not None and _place(other.function) != _place(job.function):
            raise ConfigError(f"two jobs are called {job.name!r}: give one of them a name=")
        self._jobs[job.name] = job

    def forget(self) -> None:
        """Know of none; for tests."""
        self._jobs.clear()


JOBS = Registry()
"""Those of this process."""


def every(
    period: float | timedelta,
    *,
    name: str | None = None,
    overlap: Overlap = "skip",
    misfire: float = MISFIRE,
    jitter: float = 0.0,
    timeout: float | None = None,
    drain: OnDrain = "wait",
) -> Callable[[F], F]:
    """Have one worker of the cluster call the function each ``period`` seconds.

    Runs are due at the multiples of the period, counted from 1970 on: ``every(60)`` at the full
    minute. A run that is still going when the next is due lets it out (``overlap="skip"``), or has
    it wait (``"queue"``). One that nobody was there to begin is made up for if it is at most
    ``misfire`` seconds late. Each begins up to ``jitter`` seconds later, and is cancelled after
    ``timeout``. ``drain`` says what happens when its worker is to go: ``"wait"`` for it within
    ``--drain-timeout``, ``"cancel"`` it, or cancel it and have the next worker begin it anew
    (``"handover"``; also when its worker dies). Raises `ConfigError` for what cannot be meant.
    """
    seconds = period.total_seconds() if isinstance(period, timedelta) else period
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not SHORTEST <= seconds < math.inf:
        raise ConfigError(f"every({period!r}): give a period of {SHORTEST:g} s or more")
    options = _options(name, overlap, misfire, jitter, timeout, drain)
    return _declaring("every(60)", Every(float(seconds)), options)


def cron(
    expression: str,
    *,
    tz: str = "UTC",
    name: str | None = None,
    overlap: Overlap = "skip",
    misfire: float = MISFIRE,
    jitter: float = 0.0,
    timeout: float | None = None,
    drain: OnDrain = "wait",
) -> Callable[[F], F]:
    """The same at the times of a cron expression: ``cron("0 3 * * *", tz="Europe/Berlin")``.

    Minute, hour, day, month, day of the week; or six fields, seconds first. Raises `ConfigError`.
    """
    options = _options(name, overlap, misfire, jitter, timeout, drain)
    return _declaring('cron("0 3 * * *")', Cron.parse(expression, tz), options)


@overload
def once(function: F, /) -> F: ...
@overload
def once(
    *,
    key: str = "",
    name: str | None = None,
    timeout: float | None = None,
    drain: OnDrain = "handover",
) -> Callable[[F], F]: ...
def once(
    function: Any = None,
    /,
    *,
    key: str = "",
    name: str | None = None,
    timeout: float | None = None,
    drain: OnDrain = "handover",
) -> Any:
    """Have one worker call the function once in the life of the shared state, or once per ``key``.

    A run whose worker died or drained before it returned is begun anew by the next one; one that
    raised, by the next worker that takes the jobs over. Raises `ConfigError`.
    """
    if not isinstance(key, str):
        raise ConfigError(f"once(key={key!r}): a key is text")
    options = _options(name, "skip", MISFIRE, 0.0, timeout, drain)
    declaring: Callable[[Any], Any] = _declaring("once", Once(key), options)
    return declaring if function is None else declaring(function)


def _options(
    name: str | None,
    overlap: Overlap,
    misfire: float,
    jitter: float,
    timeout: float | None,
    drain: OnDrain,
) -> dict[str, Any]:
    return {
        "name": name, "overlap": overlap, "misfire": misfire, "jitter": jitter,
        "timeout": timeout, "drain": drain,
    }  # fmt: skip


def _declaring(how: str, schedule: Schedule, options: dict[str, Any]) -> Callable[[F], F]:
    def declare(function: F) -> F:
        if not callable(function):
            raise ConfigError(f"@{how} stands before a function, not before {function!r}")
        name = options["name"]
        if name is None:
            qualname = getattr(function, "__qualname__", type(function).__qualname__)
            name = f"{function.__module__}.{qualname}"
        JOBS.add(Job(**{**options, "name": name}, function=function, schedule=schedule))
        return function

    return declare


def _place(function: Function) -> tuple[object, ...]:
    """Where it was written: a module that is loaded again declares the same once more."""
    code = getattr(function, "__code__", None)
    return (id(function),) if code is None else (code.co_filename, code.co_firstlineno)
