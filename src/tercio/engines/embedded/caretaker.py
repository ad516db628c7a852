"""Look after the store, in a thread: one process of all sweeps, syncs, and watches the size.

It is the one that holds a lease in the store itself. When it dies, another one finds that within
five seconds; when its number has been given to another process by then, as the lease ends. What
dead readers hold back is found within a second by that one, and by the others each minute.
"""

import logging
import os
import threading
import time
from typing import Final, Protocol, TypeVar

from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded.table import Store
from tercio.engines.embedded.words import Words
from tercio.errors import StateError
from tercio.state.verbs import Acquire, Release, Sweep, Verb

_log = logging.getLogger("tercio.state")

R = TypeVar("R")

LEASE: Final = b"\0caretaker"  # no kind of key begins so
SWEEP: Final = 200
"""Actions of one transaction of the sweep: less than a millisecond."""

_TURN: Final = 1.0  # seconds between two turns of the one that looks after the store
_OTHERS_TURN: Final = 5.0  # eight that look for a lease are most of what idle state costs
_TTL: Final = 5.0
_READERS_EVERY: Final = 60.0
_BETWEEN_SWEEPS: Final = 0.002  # seconds, for others who write
_ALARM: Final = 0.8  # of the room that there is
_ALL_CLEAR: Final = 0.7


class Ward(Protocol):
    """What is looked after."""

    store: Store
    words: Words

    def run_now(self, verb: Verb[R]) -> R:
        """See `StateEngine`."""

    def owner_of(self, key: bytes) -> bytes | None:
        """Who has a lock."""


class Caretaker:
    """One thread, from `start` to `stop`."""

    def __init__(self, ward: Ward, *, syncs: bool) -> None:
        self._ward = ward
        self._syncs = syncs
        self._owner = b"%d-%s" % (os.getpid(), os.urandom(8))
        self._woken = threading.Event()
        self._is_stopping = False
        self._readers_due = time.monotonic() + _READERS_EVERY
        self._is_alarmed = False
        self._has_failed = False
        self._cares = False
        self._thread = threading.Thread(target=self._live, name="tercio-caretaker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let the lease go, if it is ours, and end."""
        self._is_stopping = True
        self._woken.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._is_stopping:
            try:
                self._turn()
                self._has_failed = False
            except StateError as error:
                # The next turn comes; without this thread nothing would be swept any more.
                if not self._has_failed:
                    _log.warning("the shared state cannot be looked after just now: %s", error)
                self._has_failed = True
            self._woken.wait(_TURN if self._cares else _OTHERS_TURN)
            self._woken.clear()
        self._retire()

    def _turn(self) -> None:
        if (now := time.monotonic()) >= self._readers_due:
            self._readers_due = now + _READERS_EVERY
            self._ward.store.look_for_dead()
        self._cares = self._takes() or (self._bury() and self._takes())
        if not self._cares:
            self._show(0, 0)
            return
        self._ward.store.look_for_dead()
        while self._ward.run_now(Sweep(SWEEP)) >= SWEEP and not self._is_stopping:
            time.sleep(_BETWEEN_SWEEPS)
        if self._syncs:
            self._ward.store.sync()
        self._watch_size()

    def _takes(self) -> bool:
        return self._ward.run_now(Acquire(LEASE, self._owner, _TTL)) is not None

    def _bury(self) -> bool:
        """Give up the lease of one that is dead, whatever time it has left."""
        owner = self._ward.owner_of(LEASE)
        if owner is None or _lives(int(owner.partition(b"-")[0])):
            return False
        return self._ward.run_now(Release(LEASE, owner))

    def _watch_size(self) -> None:
        fill = self._ward.store.fill()
        self._show(fill.used, fill.keys)
        if not fill.limit:
            return
        share = fill.used / fill.limit
        if share >= _ALARM and not self._is_alarmed:
            self._is_alarmed = True
            _log.warning(
                "the shared state is %.0f %% full (%d of %d MiB): writes fail when it is full; "
                "give values a time to live, or more room with --state-size",
                100 * share, fill.used >> 20, fill.limit >> 20,
            )  # fmt: skip
        elif share < _ALL_CLEAR and self._is_alarmed:
            self._is_alarmed = False
            _log.info("the shared state is %.0f %% full", 100 * share)

    def _retire(self) -> None:
        try:
            if self._cares:
                self._ward.run_now(Release(LEASE, self._owner))
                if self._syncs:
                    self._ward.store.sync()
        except StateError:
            pass  # the lease ends by itself
        self._show(0, 0)

    def _show(self, used: int, keys: int) -> None:
        self._ward.words[Field.STATE_USED] = used
        self._ward.words[Field.STATE_KEYS] = keys


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    return True
