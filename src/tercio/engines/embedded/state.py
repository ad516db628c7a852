"""The state of the processes of one machine: verbs as transactions of a store they all open.

The loop carries out a verb itself when it need not wait for anything, without giving way to other
tasks. What must wait goes to a thread.
"""

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from tercio.dataplane.scoreboard import Field, Row
from tercio.engines.embedded import locks, steps
from tercio.engines.embedded.caretaker import Caretaker
from tercio.engines.embedded.table import Store
from tercio.engines.embedded.waiter import Waiter
from tercio.engines.embedded.words import counters_of, words_of
from tercio.engines.embedded.writelock import WriteLock
from tercio.errors import ForkedFromWorker, StateBusy, StateFull, StateUnavailable, TercioError
from tercio.state.verbs import Acquire, Fill, Measure, Members, Size, Verb

R = TypeVar("R")

LIMIT: Final = 1.0
"""Seconds that a write may wait before it is given up."""

_LARGE: Final = 256 << 10  # bytes of a value; copying more than that would be felt
_MANY: Final = 500  # members of a group
_SLOW_NS: Final = 50_000_000

_READS: Final = steps.READS
_WRITES: Final = steps.WRITES
_READ: Final = int(Field.STATE_READS)
_WRITTEN: Final = int(Field.STATE_WRITES)
_HOLDING: Final = int(Field.STATE_HOLDING)


def open_state(
    place: Mapping[str, Any], row: Row | None = None, *, cares: bool = True
) -> "EmbeddedState":
    """Open the state that a boot record describes, once a process and after it was started.

    ``cares``: this process may be the one that sweeps, syncs and watches the size. Raises
    `StateUnavailable` or `StateFull`.
    """
    path, size, sync, epoch = place["path"], place["size"], place["sync"], place["epoch"]
    store: Store
    if place["engine"] == "sqlite":
        from tercio.engines.embedded.sqlite import SqliteStore

        store = SqliteStore(path, size, sync)
    else:
        from tercio.engines.embedded.lmdb import LmdbStore

        store = LmdbStore(path, size, always_sync=sync == "always")
    state = EmbeddedState(
        store,
        path,
        # Not the wall clock, which may be set: leases would end, or last. `epoch` is one number for
        # the cluster's life, so that what persists goes on from the wall clock at its next start.
        lambda: time.monotonic() + epoch,
        row,
        is_slow=sync == "always",
    )
    if cares:
        state.caretaker = Caretaker(state, syncs=sync == "interval")
        state.caretaker.start()
    return state


class EmbeddedState:
    """See `StateEngine`."""

    is_near = True

    def __init__(
        self,
        store: Store,
        path: str,
        clock: Callable[[], float],
        row: Row | None = None,
        *,
        is_slow: bool = False,
    ) -> None:
        """``is_slow``: to commit takes as long as the disk takes."""
        self.store = store
        self.words = words_of(row)
        self.caretaker: Caretaker | None = None
        self._clock = clock
        self._is_slow = is_slow
        self._lock = WriteLock(path, self.words)
        self._waiter = Waiter(self._wait_and_change)
        self._gone: TercioError | None = None
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _leave_to_parent(reference))

    async def run(self, verb: Verb[R]) -> R:
        if self._gone is not None:
            raise self._gone
        kind = type(verb)
        if kind in _READS:
            if kind is Members and self._look(Size(cast("Members", verb).key)) > _MANY:
                return await asyncio.to_thread(self._look, verb)
            return self._look(verb)
        if kind is Measure:
            return cast("R", self.store.fill())
        if kind is Acquire and self._is_taken(cast("Acquire", verb)):
            return cast("R", None)
        if not self._is_slow and steps.size_of(verb) <= _LARGE and self._lock.try_now():
            return cast("R", self._change(verb))
        self.words[Field.STATE_WAITS] += 1
        return cast("R", await self._waiter.run(verb, LIMIT))

    def run_now(self, verb: Verb[R]) -> R:
        if self._gone is not None:
            raise self._gone
        if type(verb) in _READS:
            return self._look(verb)
        if type(verb) is Measure:
            return cast("R", self.store.fill())
        if isinstance(verb, Acquire) and self._is_taken(verb):
            return cast("R", None)
        return cast("R", self._wait_and_change(verb, time.monotonic() + LIMIT))

    def fill(self) -> Fill:
        """How full the store is."""
        return self.store.fill()

    def owner_of(self, key: bytes) -> bytes | None:
        """Who has a lock."""
        return self.store.look(locks.owner, key, self._clock())

    def counters(self) -> dict[str, int]:
        return counters_of(self.words)

    async def close(self) -> None:
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """The same, in a thread that may wait."""
        # First: it gives its lease up, for which it needs the rest.
        caretaker, self.caretaker = self.caretaker, None
        if caretaker is not None:
            caretaker.stop()
        if self._gone is None:
            self._gone = StateUnavailable("the state was closed")
            self._waiter.close()
            self._lock.close()
            self.store.close()

    def abandon(self) -> None:
        """See `StateEngine`. `_leave_to_parent` has said already that it is of no use here."""
        self.store.abandon()

    def _look(self, verb: Verb[R]) -> R:
        self.words[_READ] += 1
        return cast("R", self.store.look(_READS[type(verb)], verb, self._clock()))

    def _is_taken(self, verb: Acquire) -> bool:
        """Whether somebody else has the lock: whoever waits for it looks, and stops no writer."""
        self.words[_READ] += 1
        return self.owner_of(verb.key) not in (None, verb.owner)

    def _change(self, verb: Verb[Any]) -> Any:
        """With the lock, which it lets go."""
        words = self.words
        try:
            words[_WRITTEN] += 1
            return self.store.change(_WRITES[type(verb)], verb, self._clock())
        except StateFull:
            words[Field.STATE_FULL] += 1
            raise
        finally:
            if time.monotonic_ns() - words[_HOLDING] > _SLOW_NS:
                words[Field.STATE_SLOW] += 1
            self._lock.release()

    def _wait_and_change(self, verb: Verb[Any], deadline: float) -> Any:
        asked = time.monotonic_ns()
        try:
            self._lock.wait(deadline)
        except StateBusy:
            self.words[Field.STATE_BUSY] += 1
            raise
        if time.monotonic_ns() - asked > _SLOW_NS:
            self.words[Field.STATE_SLOW] += 1
        return self._change(verb)


def _leave_to_parent(reference: "weakref.ref[EmbeddedState]") -> None:
    """A fork must touch nothing of it: locks, slots and descriptors are the parent's."""
    state = reference()
    if state is not None:
        state._gone = ForkedFromWorker(
            "the shared state belongs to the process that was forked; use it there, or start "
            "processes with `spawn`"
        )
        state.caretaker = None
