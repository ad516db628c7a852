"""Where secrets are kept: in the shared state, read at once even in a running event loop.

A web app asks for its secret where it needs it, in a handler as well as at import. The embedded
state answers in microseconds; what a server answered is kept for a second, and used on while the
server is away.
"""

import time
from collections.abc import Callable
from typing import Final

from tercio.codec import decode, encode
from tercio.errors import StateUnavailable
from tercio.state.engine import StateEngine
from tercio.state.keys import Keys
from tercio.state.verbs import CompareAndSet, Get

NAMESPACE: Final = ".tercio.secret"
"""Of the state."""

KEPT: Final = 1.0
"""Seconds for which an answer of a server is used again."""


class Vault:
    """Implements `keyring.Store`."""

    def __init__(
        self,
        engine: StateEngine,
        *,
        is_remote: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_remote``: each question takes a round trip, for which the thread waits."""
        self._engine = engine
        self._is_remote = is_remote
        self._clock = clock
        self._keys = Keys(NAMESPACE)
        self._kept: dict[str, tuple[float, object]] = {}

    def get(self, key: str) -> object:
        """What is there now, or was at most a second ago on a server."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        try:
            body = self._engine.run_now(Get(self._keys.value(key)))
        except StateUnavailable:
            if kept is None:
                raise
            found = kept[1]
        else:
            found = None if body is None else decode(body)
        self._keep(key, found)
        return found

    def compare_and_set(self, key: str, expected: object, new: object) -> bool:
        """Replace what is there. False: it is not what was expected, so ask again."""
        old = None if expected is None else encode(expected)
        if self._engine.run_now(CompareAndSet(self._keys.value(key), old, encode(new))):
            self._keep(key, new)
            return True
        self._kept.pop(key, None)
        return False

    def _keep(self, key: str, value: object) -> None:
        if self._is_remote and value is not None:
            self._kept[key] = (self._clock() + KEPT, value)
