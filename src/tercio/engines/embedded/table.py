"""What a step works on: ordered bytes keys with bytes values, inside one transaction.

And the store that has such tables. LMDB, SQLite and a dict all are one, so what a verb means is
written once, in `steps` and its siblings.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from tercio.state.verbs import Fill

V = TypeVar("V")
R = TypeVar("R")


class Table(Protocol):
    """The keys as one transaction sees them. Not to be changed while `after` is iterated."""

    @property
    def get(self) -> Callable[[bytes], bytes | None]:
        """The value of a key."""

    @property
    def put(self) -> Callable[[bytes, bytes], object]:
        """Set the value of a key."""

    @property
    def delete(self) -> Callable[[bytes], object]:
        """Remove a key; one that is not there is none."""

    def after(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys from ``start`` on, in the order of their bytes, with their values."""


Step = Callable[[Table, V, float], R]
"""Carries out a verb at a time. Raises before it changes anything, or has the store undo it."""


class Store(Protocol):
    """Tables in transactions. `change` is called by one thread of one process at a time."""

    def look(self, step: Step[V, R], verb: V, now: float) -> R:
        """Carry out a step that only reads. Never waits for who writes."""

    def change(self, step: Step[V, R], verb: V, now: float) -> R:
        """Carry out a step and commit it, or undo all of it and raise.

        Raises `StateFull`, `StateUnavailable`, or what the step raises.
        """

    def fill(self) -> Fill:
        """How full the store is."""

    def sync(self) -> None:
        """Write what was committed to the disk. Takes its time."""

    def look_for_dead(self) -> None:
        """Give up what processes that are dead still hold."""

    def close(self) -> None:
        """Give the store up."""

    def abandon(self) -> None:
        """In a fork: let this process open it anew, without touching what the parent holds."""


def starting_with(table: Table, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Keys with a prefix, from ``start`` on."""
    for key, value in table.after(start or prefix):
        if not key.startswith(prefix):
            return
        yield key, value
