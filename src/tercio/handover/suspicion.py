"""For how long a loop has been in one step, as far as a witness can swear to it. Pure.

A witness that comes late has seen nothing: the process was stopped, throttled or starved, and the
loop with it. That the loop's thread wanted to run and could not is no block either. So a look that
is on time counts for all the time since the look before if the thread is asleep now (whatever it
waits for, it does nothing for others), and else for the processor time that it used. Of processor
time no witness is needed: what a step has used, it has used.
"""

from typing import Final

LATE: Final = 0.015
"""Seconds. To get the interpreter's lock from a thread that computes takes 5 ms."""

_ON_TIME: Final = 2
"""Looks in a row that must be, before anything is done."""


class Suspicion:
    """Of one loop. Times are seconds; a step is any object."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._step: object = None
        self._last = self._used = self._used_before = 0.0
        self._on_time = 0
        self.witnessed = 0.0
        """Seconds of the step that were seen."""

    def begin(self, step: object, now: float, used: float) -> None:
        """The loop has been found in a step; its thread has ``used`` the processor so long."""
        self._step = step
        self._last, self._used, self._used_before = now, used, used
        self._on_time = 0
        self.witnessed = 0.0

    def look(self, step: object, now: float, due: float, used: float, is_asleep: bool) -> bool:
        """It is found in the same step once more, or in another one. Whether it is blocked."""
        if step is not self._step:
            self.begin(step, now, used)
            return False
        gap, ran = now - self._last, used - self._used
        self._last, self._used = now, used
        if now - due > LATE:
            self._on_time = 0
        else:
            self._on_time += 1
            self.witnessed += gap if is_asleep else min(gap, ran)
        if used - self._used_before >= self._after:
            return True
        return self._on_time >= _ON_TIME and self.witnessed >= self._after
