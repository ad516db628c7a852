"""The lock in front of every write transaction. The loop tries it; only threads wait for it.

LMDB's own lock cannot be tried, and a process that is stopped inside a transaction would hold up
the loops of all others. This one is a record lock of the kernel on a file of the directory,
released with its process and not inherited by a fork, behind a lock for the process' threads.

Since when a process holds it, or waits for it, stands in its row of the scoreboard, so that the
primary can tell a stopped holder, which it ends, from the waiters, which it never judges.
"""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded.words import Words
from tercio.errors import StateBusy, StateUnavailable

FILE: Final = "writer"

_YIELD_NS: Final = 50_000
_SPIN_NS: Final = 100_000
"""A write takes some 5 us, and a hop to a thread some 100."""

# Not time.sleep(0), as long as the holder may run beside us: on Linux that takes 60 us.
_yield: Final[Callable[[], object]] = getattr(os, "sched_yield", lambda: time.sleep(0))

_FIRST_PAUSE: Final = 0.0001  # seconds
_LONGEST_PAUSE: Final = 0.002

_PATIENCE: Final = 0.005
"""Seconds after which no other thread of the process goes before one that waits. To go in turns
always would cost a switch of threads for every write; never, and one of them waits for ever."""


class _Waiting:
    """A thread that waits; they are in the order in which they came."""

    __slots__ = ("since", "woken")

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.woken = threading.Event()


class WriteLock:
    """One a process and directory: the kernel knows one owner a process."""

    def __init__(self, path: str, words: Words) -> None:
        """Raises `StateUnavailable`."""
        self._words = words
        self._inside = threading.Lock()
        self._waiting: deque[_Waiting] = deque()  # each operation on it is one step
        try:
            self._descriptor = os.open(
                os.path.join(path, FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise StateUnavailable(
                f"the state in {path} cannot be opened: {error.strerror}"
            ) from error

    def try_now(self) -> bool:
        """Take it if it is free, or is within the time of a few writes. For the loop.

        Not before a thread of this process that waits already: the loop would always be faster,
        since a thread wakes up with the interpreter's lock, just when the loop is inside.
        """
        if self._waiting:
            return False
        if self._try():
            return True
        begun = now = time.monotonic_ns()
        while now < begun + _SPIN_NS:
            if now < begun + _YIELD_NS and not self._inside.locked():
                _yield()
            else:
                time.sleep(0)  # lets a thread of ours have the interpreter, too
            if self._try():
                return True
            now = time.monotonic_ns()
        return False

    def wait(self, deadline: float) -> None:
        """Take it before the monotonic time ``deadline``, in a thread. Raises `StateBusy`.

        It is asked for again and again: the kernel's waiting call knows no deadline.
        """
        if not self._is_awaited() and self._try():
            return
        me = _Waiting()
        self._waiting.append(me)
        self._words[Field.STATE_WAITING] = time.monotonic_ns()
        try:
            pause = _FIRST_PAUSE
            while (left := deadline - time.monotonic()) > 0:
                me.woken.wait(min(pause, left))
                me.woken.clear()
                pause = min(pause * 2, _LONGEST_PAUSE)
                if (self._waiting[0] is me or not self._is_awaited()) and self._try():
                    return
        finally:
            self._waiting.remove(me)
            if not self._waiting:
                self._words[Field.STATE_WAITING] = 0
        raise StateBusy("another process has been writing the shared state for too long; try again")

    def release(self) -> None:
        """Let the next one write."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._words[Field.STATE_HOLDING] = 0
        self._inside.release()
        if self._is_awaited():
            with suppress(IndexError):  # it has just given up
                self._waiting[0].woken.set()

    def close(self) -> None:
        """Give up the descriptor."""
        with self._inside:
            os.close(self._descriptor)
            self._descriptor = -1  # the number may be another file's soon

    def _is_awaited(self) -> bool:
        """Whether a thread of ours has waited for so long that it is its turn."""
        with suppress(IndexError):
            return time.monotonic() - self._waiting[0].since > _PATIENCE
        return False

    def _try(self) -> bool:
        if not self._inside.acquire(False):
            return False
        # Before, not after: a holder that nobody sees would stop everybody until somebody looks.
        self._words[Field.STATE_HOLDING] = time.monotonic_ns()
        try:
            if self._descriptor < 0:
                raise StateUnavailable("the state was closed")
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            self._words[Field.STATE_HOLDING] = 0
            self._inside.release()
            return False
        except BaseException:
            self._words[Field.STATE_HOLDING] = 0
            self._inside.release()
            raise
        return True
