"""Notice that the event loop is blocked, and say where. It never ends or interrupts anything.

Two beats go to the scoreboard: the thread's own, and the loop's, which the loop itself writes when
it runs a callback that the thread asked for. The thread judges only if it was on time itself: a
process that was stopped, throttled or starved for a while blames nobody.
"""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from tercio.dataplane.scoreboard import Field, Row
from tercio.system import proc
from tercio.worker import stacks
from tercio.worker.clipping import ERROR_LIMIT, STACK_LIMIT, clip, clip_line

_log = logging.getLogger("tercio.worker")

_SHORTEST: Final = 0.25  # seconds: an idle process sleeps at least this long
_LONGEST: Final = 1.0  # the primary expects a beat every second
_RESTS: Final = 3
"""Turns in a row for which a loop that is seen waiting is believed, and not woken up to say so."""

_QUIET: Final = 4
"""Turns in a row without anything to do after which they become longer."""


class Watchdog:
    """One thread. It beats from `start` on, and judges the loop between `watch` and `unwatch`."""

    def __init__(
        self,
        row: Row,
        blocked_after: float,
        report: Callable[[Mapping[str, object]], None],
        lines_dropped: Callable[[], int],
        *,
        is_development: bool = False,
    ) -> None:
        self._row = row
        self._is_development = is_development
        self._report = report
        self._lines_dropped = lines_dropped
        self._period = min(max(blocked_after / 2, _SHORTEST), _LONGEST)
        self._blocked_after = blocked_after
        # Held while there is nothing to hurry for. An Event makes a new lock for each wait: 60 us a
        # turn instead of 45, and turns are nearly all that an idle worker does.
        self._calm = threading.Lock()
        self._calm.acquire()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main = threading.main_thread().ident
        self._beat = 0.0  # when the loop last ran
        self._asked: float | None = None  # when it was last asked to, unless it did
        self._blocked_since: float | None = None  # reported, and not over yet
        self._rests = 0
        self._quiet = 0  # turns in a row in which the loop was seen waiting
        self._turn = self._period  # seconds of this one
        self._is_long = False
        self.is_helped = False
        """Whether somebody calls `hurry` when clients wait for the loop."""
        self.beside: Callable[[], None] | None = None
        """What else is to be looked at now and then, in this thread."""

    def start(self) -> None:
        """Begin to beat: at once, for a process may be stopped before its thread first runs."""
        self._beat_itself()
        threading.Thread(target=self._run, name="tercio-watchdog", daemon=True).start()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Judge this loop from now on. Called by the loop."""
        self._loop = loop
        self._answer()

    def unwatch(self) -> None:
        """Judge nobody any more: shutting down may block, and takes what it takes."""
        self._loop = None
        self._row[Field.LOOP_BEAT] = 0  # so that the primary does not judge it either

    def _run(self) -> None:
        has_failed = False
        while True:
            due = time.monotonic() + self._turn
            self._is_long = self._turn > self._period
            self._calm.acquire(timeout=self._turn)
            self._turn = self._next_turn()
            self._beat_itself()
            try:
                self._look(due)
                if self.beside is not None and self._loop is not None:
                    self.beside()
            except Exception:
                # Without this thread both beats stop, and the primary kills a healthy worker.
                if not has_failed:
                    _log.exception("the watchdog could not report; it goes on")
                has_failed = True

    def hurry(self) -> None:
        """Something waits for the loop, which is in one step: look at once. In any thread."""
        if self._is_long:
            self._is_long = False
            self._beat = time.monotonic()  # it has just begun that step
            self._look_now()

    def _look_now(self) -> None:
        with suppress(RuntimeError):  # somebody else has said so, or it is about to
            self._calm.release()

    def _next_turn(self) -> float:
        """Who has nobody to serve looks half as often: turns are most of what idling costs.

        A block that a client waits for is noticed as soon as ever: somebody sees the client wait.
        """
        if not self.is_helped or self._quiet < _QUIET:
            return self._period
        if self._row[Field.CONNECTIONS] or self._row[Field.IN_FLIGHT]:
            return self._period
        return min(2 * self._period, _LONGEST)

    def _beat_itself(self) -> None:
        now = time.monotonic_ns()
        self._row[Field.THREAD_BEAT] = now
        self._row[Field.WATCH_DUE] = now + int(self._turn * 1e9)

    def _look(self, due: float) -> None:
        now = time.monotonic()
        self._row[Field.LOG_DROPPED] = self._lines_dropped()
        if self._is_development:
            self._row[Field.PROMPT] = time.monotonic_ns() if stacks.is_at_prompt() else 0
        if (loop := self._loop) is None:
            return
        if self._asked is not None and now - due > self._period:
            self._asked = now  # late itself: it blames nobody
        else:
            self._judge(loop, now)

    def _judge(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        if self._asked is None:
            if self._blocked_since is not None:
                self._say_unblocked(self._beat - self._blocked_since)
            if self._may_rest(now):
                return
            self._asked = now
            try:
                loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # closed: the worker is ending
                self.unwatch()
        elif self._blocked_since is None and now - self._asked >= self._blocked_after / 2:
            self._look_for_culprit(now)

    def _may_rest(self, now: float) -> bool:
        """Whether the loop is idle; then this is its beat, and costs it no wake-up."""
        frame = sys._current_frames().get(self._main or 0)
        is_waiting = frame is not None and stacks.is_in_select(frame)
        self._quiet = self._quiet + 1 if is_waiting else 0
        if self._rests == _RESTS or not is_waiting:
            self._rests = 0
            self._turn = self._period  # how soon it answers is to be seen
            return False
        self._rests += 1
        self._beat = now
        self._row[Field.LOOP_LAG_US] = 0
        self._row[Field.LOOP_BEAT] = time.monotonic_ns()
        if self._loop is None:  # unwatched meanwhile
            self._row[Field.LOOP_BEAT] = 0
        return True

    def _answer(self) -> None:
        """In the loop."""
        self._beat = time.monotonic()
        if (asked := self._asked) is not None:
            self._row[Field.LOOP_LAG_US] = int(max(self._beat - asked, 0.0) * 1e6)
        self._asked = None
        if self._loop is None:
            return
        self._row[Field.LOOP_BEAT] = time.monotonic_ns()
        if self._blocked_since is not None:
            self._look_now()  # it is over: say so now, not at the next turn

    def _look_for_culprit(self, now: float) -> None:
        frame = sys._current_frames().get(self._main or 0)
        if frame is None or stacks.is_in_select(frame):
            self._asked = now  # it is about to run: late, not blocked
            return
        state = proc.state(os.getpid())
        if stacks.is_debugged(frame) or (state is not None and state.tracer):
            return
        if (since := self._beat) > now:
            return  # it has answered while this looked
        self._blocked_since = since
        self._row[Field.BLOCKED] += 1
        self._report(
            {
                "type": "blocked",
                "seconds": round(now - since, 3),
                "culprit": clip_line(stacks.culprit(frame), ERROR_LIMIT),
                "stack": clip(stacks.stack(frame), STACK_LIMIT),
            }
        )

    def _say_unblocked(self, seconds: float) -> None:
        self._blocked_since = None
        self._row[Field.BLOCKED_US] += int(seconds * 1e6)
        self._report({"type": "unblocked", "seconds": round(seconds, 3)})
