"""Run verbs in a thread, and wait there."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tercio.state.engine import StateEngine
from tercio.state.notifier import Notifier
from tercio.state.verbs import Verb

R = TypeVar("R")

_FIRST_PAUSE: Final = 0.002  # seconds; a thread hears no notices, it looks again
_LONGEST_PAUSE: Final = 0.1


class Caller:
    """Runs verbs in this thread; in one with an event loop only if it ``holds_loops``."""

    def __init__(self, engine: StateEngine, notifier: Notifier, *, holds_loops: bool) -> None:
        self.engine = engine
        self.notifier = notifier
        self.holds_loops: bool = holds_loops

    def run(self, verb: Verb[R]) -> R:
        """Raises `RuntimeError` in an event loop that is not to be held."""
        if not self.holds_loops and is_in_loop():
            raise RuntimeError(
                "state.sync waits, which would stop this event loop: await the same call of "
                "state, or call this in a thread (asyncio.to_thread)"
            )
        return self.engine.run_now(verb)

    def until(self, attempt: Callable[[], R | None], timeout: float | None) -> R | None:
        """The first answer that is one; None after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while (answer := attempt()) is None:
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0.0:
                return None
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return answer


def is_in_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
