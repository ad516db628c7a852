"""When the memory of large messages is given back, whatever loops and threads come and go."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_LEAST: Final = 0.25  # seconds between two looks: a reader may be waited for


class Expiry:
    """A timer in a thread of its own, once while anything is held.

    Not in a loop: many processes that publish have none, or only for a moment.
    """

    def __init__(self, lock: threading.RLock, expire: Callable[[], float | None]) -> None:
        """``expire`` gives back what is due, and says when there is more (monotonic seconds)."""
        self._lock = lock
        self._expire = expire
        self._timer: threading.Timer | None = None

    def begin(self, when: float) -> None:
        """Something is held until ``when``. The caller has the lock."""
        if self._timer is None:
            timer = threading.Timer(max(_LEAST, when - time.monotonic()), self._run)
            timer.name, timer.daemon = "tercio-parcels", True
            with suppress(RuntimeError):  # no more threads: at the latest our end gives it back
                timer.start()
                self._timer = timer

    def end(self) -> None:
        """Look no more. The caller has the lock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave_to_parent(self, lock: threading.RLock) -> None:
        """In a forked child, where the thread is not."""
        self._lock = lock
        self._timer = None

    def _run(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # it was ended meanwhile
            self._timer = None
            when = self._expire()
            if when is not None:
                self.begin(when)
