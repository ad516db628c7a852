"""Decide from its beats whether a worker still runs. Pure.

Two beats tell two failures apart: the loop's beat stops when a callback blocks it, the thread's
beat stops too when the process is stopped or C code keeps the interpreter's lock. A beat from a
thread alone does not see a blocked loop (uvicorn, granian and hypercorn never noticed one).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from tercio.core.policy import Policy

MISSES_NEEDED: Final = 2
"""Judgements in a row that must agree: one may fall into a scheduling gap."""

_STALE: Final = 3.0  # seconds without a thread beat: it beats at least every second

HOLD_LIMIT: Final = 1.0
"""Seconds for which a worker that does not run may hold the state's write lock; a write takes
microseconds, and meanwhile nobody else writes."""


class Verdict(Enum):
    """What the beats say."""

    FINE = "fine"
    BLOCKED = "blocked"  # the loop is inside one callback
    SILENT = "silent"  # no thread of it runs Python: C code holds the interpreter's lock
    STOPPED = "stopped"  # SIGSTOP
    TRACED = "traced"  # a debugger has it; never judged


@dataclass(frozen=True, slots=True)
class Beats:
    """What was read of one worker. Ages are seconds; None before the first beat."""

    loop_age: float | None
    thread_age: float | None
    is_stopped: bool = False
    is_traced: bool = False
    holding_age: float | None = None  # how long it has held the state's write lock, if it does
    is_at_prompt: bool = False  # a debugger in it asks a person; only looked at in development


def judge(beats: Beats, blocked_after: float = 1.0) -> Verdict:
    """Name the state of a worker."""
    if beats.is_traced or beats.is_at_prompt:
        return Verdict.TRACED
    if beats.is_stopped:
        return Verdict.STOPPED
    if beats.loop_age is None or beats.thread_age is None:
        return Verdict.FINE
    if beats.thread_age > max(_STALE, blocked_after * 2):
        return Verdict.SILENT
    if beats.loop_age > max(_STALE, blocked_after * 2):
        return Verdict.BLOCKED
    return Verdict.FINE


def fatal(verdict: Verdict, beats: Beats, policy: Policy) -> str | None:
    """Why the worker must be killed, if it must."""
    match verdict:
        case Verdict.FINE | Verdict.TRACED:
            return None
        case Verdict.STOPPED:
            age = beats.thread_age or 0.0
            if policy.stopped_kill and age >= policy.stopped_kill:
                return f"stopped by a signal for {age:.0f} s (--stopped-kill)"
        case Verdict.BLOCKED | Verdict.SILENT:
            age = beats.loop_age or 0.0
            if policy.blocked_kill and age >= policy.blocked_kill:
                what = "event loop blocked" if verdict is Verdict.BLOCKED else "no Python ran"
                return f"{what} for {age:.0f} s (--blocked-kill)"
    return None


def holds_up_others(beats: Beats) -> str | None:
    """Why the worker must be killed for the others' sake, whatever the policy says.

    It is inside a write of the shared state and does not run. One that runs may wait for a disk,
    and those that wait for the lock can't help it.
    """
    if (
        beats.is_traced
        or beats.is_at_prompt
        or beats.holding_age is None
        or beats.holding_age < HOLD_LIMIT
    ):
        return None
    if beats.thread_age is None:
        is_still = beats.is_stopped
    else:
        is_still = beats.thread_age >= (HOLD_LIMIT if beats.is_stopped else _STALE)
    if not is_still:
        return None
    what = "stopped by a signal" if beats.is_stopped else "no Python ran in it"
    return f"{what} while it wrote the shared state, for {beats.holding_age:.1f} s"
