"""The state of one process, in memory: for tests, a REPL, and apps that no cluster runs."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast

from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded import steps
from tercio.engines.embedded.memory import MemoryStore
from tercio.engines.embedded.words import counters_of, words_of
from tercio.errors import StateUnavailable
from tercio.state.verbs import Measure, Sweep, Verb

R = TypeVar("R")

_SWEEP_EVERY: Final = 256  # writes
_SWEEP: Final = 512


class LocalState:
    """See `StateEngine`. ``clock`` gives seconds that never fall; tests advance their own."""

    is_near = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._store = MemoryStore()
        self._lock = threading.Lock()
        self._words = words_of(None)
        self._is_closed = False
        self._until_sweep = _SWEEP_EVERY

    async def run(self, verb: Verb[R]) -> R:
        return self.run_now(verb)

    def run_now(self, verb: Verb[R]) -> R:
        kind = type(verb)
        with self._lock:
            if self._is_closed:
                raise StateUnavailable("the state was closed")
            if kind is Measure:
                return cast("R", self._store.fill())
            if (step := steps.READS.get(kind)) is not None:
                self._words[Field.STATE_READS] += 1
                return cast("R", self._store.look(step, verb, self.clock()))
            self._words[Field.STATE_WRITES] += 1
            self._sweep()
            return cast("R", self._store.change(steps.WRITES[kind], verb, self.clock()))

    def counters(self) -> dict[str, int]:
        return counters_of(self._words)

    async def close(self) -> None:
        self.close_now()

    def abandon(self) -> None:
        """See `StateEngine`."""

    def close_now(self) -> None:
        """See `StateEngine`."""
        with self._lock:
            self._is_closed = True
            self._store.close()

    def _sweep(self) -> None:
        self._until_sweep -= 1
        if not self._until_sweep:
            self._until_sweep = _SWEEP_EVERY
            self._store.change(steps.WRITES[Sweep], Sweep(_SWEEP), self.clock())
