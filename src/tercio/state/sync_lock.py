"""A lock for threads."""

import os
import threading
import time
from types import TracebackType
from typing import Final, Self

from tercio.errors import LockLost, LockTaken, StateError
from tercio.state.caller import Caller
from tercio.state.keys import shown
from tercio.state.verbs import Acquire, Release, Renew

_RENEWALS: Final = 3  # within one time to live


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
        self._left = threading.Event()
        self._renewing = threading.Thread(target=self._keep, name="tercio-lock", daemon=True)

    @property
    def token(self) -> int:
        """See `Lease.token`."""
        if self._token is None:
            raise RuntimeError("a lock has a token inside of `with` only")
        return self._token

    def renew(self, ttl: float | None = None) -> None:
        """Hold it for ``ttl`` more seconds. Raises `LockLost`."""
        self._ttl = self._ttl if ttl is None else ttl
        if not self._caller.run(Renew(self._key, self._owner, self._ttl)):
            self.lost.set()
            raise self._lost()

    def __enter__(self) -> Self:
        verb = Acquire(self._key, self._owner, self._ttl)
        self._token = self._caller.until(lambda: self._caller.run(verb), self._timeout)
        if self._token is None:
            raise LockTaken(f"{shown(self._key)} was not free within {self._timeout} s")
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._renewing.join()
        was_ours = self._caller.run(Release(self._key, self._owner))
        self._caller.notifier.notify(self._key)
        if kind is None and (self.lost.is_set() or not was_ours):
            raise self._lost()

    def _keep(self) -> None:
        end = time.monotonic() + self._ttl
        while not self._left.wait(self._ttl / _RENEWALS):
            asked = time.monotonic()
            try:
                is_ours = self._caller.run(Renew(self._key, self._owner, self._ttl))
                end = asked + self._ttl
            except StateError:
                is_ours = time.monotonic() < end
            if not is_ours:
                self.lost.set()
                return

    def _lost(self) -> LockLost:
        return LockLost(
            f"{shown(self._key)} was lost: it was not renewed within its {self._ttl:g} s"
        )
