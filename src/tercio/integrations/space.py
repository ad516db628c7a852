"""The part of the state that an adapter has for itself, and names that fit into it."""

import hashlib
from typing import Final

from tercio import cluster
from tercio.state.keys import Keys
from tercio.state.state import State
from tercio.state.sync import SyncState

_LONGEST: Final = 250
"""Bytes of a name that is kept as it is; with its namespace a key of the state has 400 at most."""


class Space:
    """A namespace of `cluster.state`, whichever cluster this process belongs to at the time."""

    def __init__(self, kind: str, name: str = "", *, holds_loops: bool = False) -> None:
        """Raises `ValueError` for a name with a colon, or one of more than 80 characters.

        ``holds_loops``: whether ``sync`` works in event loops, too.
        """
        if len(name) > 80:
            raise ValueError(f"name {name[:40]!r}…: expected 80 characters at most")
        self.namespace: Final = f".{kind}.{name}" if name else f".{kind}"
        Keys(self.namespace)
        self._holds_loops = holds_loops
        self._kept: tuple[State, State, SyncState] | None = None

    @property
    def state(self) -> State:
        """For tasks."""
        return self._both()[1]

    @property
    def sync(self) -> SyncState:
        """For threads."""
        return self._both()[2]

    def _both(self) -> tuple[State, State, SyncState]:
        given, kept = cluster.state, self._kept
        if kept is None or kept[0] is not given:
            state = given.namespace(self.namespace)
            sync = state.sync.holding_loops() if self._holds_loops else state.sync
            kept = self._kept = given, state, sync
        return kept


def fitting(name: str) -> str:
    """The name, or what stands for one that is too long for a key.

    A cache or a limit is asked about what clients send: that must be no way to make it fail.
    """
    try:
        if len(name.encode()) <= _LONGEST:
            return name
    except UnicodeEncodeError:
        pass  # half of a pair, which JSON can carry
    return "#" + hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
