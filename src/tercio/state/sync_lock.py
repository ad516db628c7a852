"""A lock for threads."""

import os
import threading
import time
from types import TracebackType
from typing import Final, Self

from tercio.errors import LockLost, LockTaken, StateError
from tercio.state.caller import Caller
from tercio.state.keys import checked_ttl, shown
from tercio.state.verbs import Acquire, Release, Renew

_RENEWALS: Final = 3  # within one time to live
_AGAIN: Final = 0.05  # seconds after a renewal that failed


class SyncLock:
    """As `Lock`, for a thread."""

    def __init__(self, caller: Caller, key: bytes, ttl: float, timeout: float | None) -> None:
        self.lost: Final = threading.Event()
        """Set when it is not ours any more although the body runs."""
        self._caller = caller
        self._key = key
        self._ttl = ttl
        self._timeout = timeout
        self._owner = os.urandom(16)
        self._token: int | None = None
        self._woken = threading.Event()
        self._has_left = False
        self._end = 0.0
        self._renewing = threading.Thread(target=self._keep, name="tercio-lock", daemon=True)

    @property
    def token(self) -> int:
        """See `Lease.token`."""
        if self._token is None:
            raise RuntimeError("a lock has a token inside of `with` only")
        return self._token

    def renew(self, ttl: float | None = None) -> None:
        """Hold it for ``ttl`` more seconds. Raises `LockLost`, and `ValueError` for no time."""
        self._ttl = checked_ttl(ttl) or self._ttl
        end = time.monotonic() + self._ttl
        if not self._caller.run(Renew(self._key, self._owner, self._ttl)):
            self.lost.set()
            raise self._lost()
        self._end = end
        self._woken.set()

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("a lock is used once: ask for another one")
        verb = Acquire(self._key, self._owner, self._ttl)

        def take() -> int | None:
            self._end = time.monotonic() + self._ttl
            return self._caller.run(verb)

        self._token = self._caller.until(take, self._timeout)
        if self._token is None:
            raise LockTaken(f"{shown(self._key)} was not free within {self._timeout} s")
        try:
            self._renewing.start()
        except RuntimeError:  # no more threads: without renewal nobody could rely on it
            self._caller.run(Release(self._key, self._owner))
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_left = True
        self._woken.set()
        self._renewing.join()
        try:
            was_ours = self._caller.run(Release(self._key, self._owner))
        except StateError:
            if kind is None:
                raise
            return  # what the body raised comes first; the lease ends by itself
        self._caller.notifier.notify(self._key)
        if kind is None and (self.lost.is_set() or not was_ours):
            raise self._lost()

    def _keep(self) -> None:
        pause = self._ttl / _RENEWALS
        while True:
            was_woken = self._woken.wait(pause)
            self._woken.clear()
            if self._has_left:
                return
            if was_woken:  # it was renewed by the body, perhaps for less time than we would sleep
                pause = self._ttl / _RENEWALS
                continue
            asked = time.monotonic()
            try:
                is_ours = self._caller.run(Renew(self._key, self._owner, self._ttl))
                self._end, pause = asked + self._ttl, self._ttl / _RENEWALS
            except StateError:
                is_ours, pause = time.monotonic() < self._end, min(_AGAIN, self._ttl / _RENEWALS)
            if not is_ours:
                self.lost.set()
                return

    def _lost(self) -> LockLost:
        return LockLost(
            f"{shown(self._key)} was lost: it was not renewed within its {self._ttl:g} s"
        )
