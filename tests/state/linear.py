"""Whether a history of calls on one register could have come about one call after the other.

After Wing and Gong: take any call that began before all others ended, see whether its answer fits,
and go on; step back where nothing fits. What was tried before (the same calls done, the same
value) is not tried again, which is what makes a thousand calls feasible.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Call:
    """One call. Times are nanoseconds."""

    began: int
    ended: int
    action: str
    argument: int | None
    result: object

    @classmethod
    def parse(cls, line: bytes) -> Self:
        return cls(*json.loads(line))

    def after(self, value: int) -> int | None:
        """The register's value after this call on ``value``; None if its answer does not fit."""
        match self.action:
            case "get":
                return value if self.result == value else None
            case "incr":
                return value + 1 if self.result == value + 1 else None
            case _:
                return self.argument if self.result is True else None


def overlap(history: Sequence[Call]) -> Iterator[bool]:
    """For each call but the first whether it began before an earlier one had ended."""
    ordered = sorted(history, key=lambda call: call.began)
    latest = ordered[0].ended
    for call in ordered[1:]:
        yield call.began < latest
        latest = max(latest, call.ended)


def explains(history: Sequence[Call], value: int = 0) -> bool:
    """Whether some order of the calls, none before one that had ended when it began, fits."""
    calls = sorted(history, key=lambda call: call.began)
    seen: set[tuple[int, frozenset[int], int]] = set()
    # Done: all calls before the first number, and those in the set.
    stack = [(0, frozenset[int](), value)]
    while stack:
        state = stack.pop()
        if state in seen:
            continue
        seen.add(state)
        first, done, now = state
        if first == len(calls):
            return True
        for index in _next(calls, first, done):
            after = calls[index].after(now)
            if after is not None:
                stack.append((*_with(first, done, index), after))
    return False


def _next(calls: Sequence[Call], first: int, done: frozenset[int]) -> Iterator[int]:
    """Calls that may come now: they began before any that is not done ended."""
    ends = min(call.ended for call in _open(calls, first, done))
    for index in range(first, len(calls)):
        if calls[index].began > ends:
            return
        if index not in done:
            yield index


def _open(calls: Sequence[Call], first: int, done: frozenset[int]) -> Iterator[Call]:
    soonest = None
    for index in range(first, len(calls)):
        call = calls[index]
        if soonest is not None and call.began > soonest:
            return
        if index not in done:
            soonest = call.ended if soonest is None else min(soonest, call.ended)
            yield call


def _with(first: int, done: frozenset[int], index: int) -> tuple[int, frozenset[int]]:
    left = set(done) | {index}
    while first in left:
        left.remove(first)
        first += 1
    return first, frozenset(left)
