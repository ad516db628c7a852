"""What a job is: a function, when it is due, and what its author decided about the hard cases."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from tercio.errors import ConfigError
from tercio.jobs.schedule import Every, Schedule

Overlap = Literal["skip", "queue"]
OnDrain = Literal["wait", "cancel", "handover"]

Function = Callable[..., Any]

MISFIRE: Final = 60.0
"""Seconds that a run may be late of which nobody was there to begin it."""

_LONGEST_NAME: Final = 200  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job, as it was declared."""

    name: str
    function: Function
    schedule: Schedule
    overlap: Overlap = "skip"
    misfire: float = MISFIRE
    jitter: float = 0.0
    timeout: float | None = None
    drain: OnDrain = "wait"

    @property
    def is_async(self) -> bool:
        """Whether it runs in the event loop; others have a thread."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def takes_run(self) -> bool:
        """Whether it wants to know its run."""
        return _takes_run(self.function)

    def check(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        who = f"job {self.name!r}"
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise ConfigError(f"name={self.name!r}: a job's name is some printable text")
        if len(self.name.encode()) > _LONGEST_NAME:
            raise ConfigError(f"name={self.name[:40]!r}…: at most {_LONGEST_NAME} bytes")
        if self.overlap not in get_args(Overlap):
            raise ConfigError(f'{who}: overlap is "skip" or "queue", not {self.overlap!r}')
        if self.drain not in get_args(OnDrain):
            raise ConfigError(f'{who}: drain is "wait", "cancel" or "handover", not {self.drain!r}')
        _seconds(who, "misfire", self.misfire, least=0.0)
        _seconds(who, "jitter", self.jitter, least=0.0)
        if self.timeout is not None:
            _seconds(who, "timeout", self.timeout)
        if isinstance(self.schedule, Every) and self.jitter >= self.schedule.period:
            raise ConfigError(f"{who}: jitter={self.jitter:g} is no shorter than its period")
        try:
            _bind(self.function, takes_run=self.takes_run)
        except TypeError:
            raise ConfigError(
                f"{who} needs arguments that nobody gives it: it may have one, its run"
            ) from None


def _seconds(who: str, what: str, value: float, least: float | None = None) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (value > 0 if least is None else value >= least) or value == math.inf:
        raise ConfigError(f"{who}: {what}={value!r} is no time in seconds")


def _takes_run(function: Function) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # of C, without a signature
        return False
    if not parameters:
        return False
    first = parameters[0]
    is_by_place = first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)
    return is_by_place and (first.default is first.empty or first.name == "run")


def _bind(function: Function, *, takes_run: bool) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        return
    signature.bind(*([None] if takes_run else []))
