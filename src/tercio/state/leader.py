"""A lease for what one process does on behalf of all."""

from typing import Final

from tercio.state.engine import StateEngine
from tercio.state.lease import Lease
from tercio.state.notifier import POLL, Notifier

_LOOKS: Final = 4  # at the lease of a leader that died, before it would have ended by itself


class Leader(Lease):
    """``async with state.leader("nightly") as leader:``; all campaign, one is inside.

    Those who wait look seldom: a leader that leaves tells them, and one that died is replaced when
    its lease ends. When the lease is lost the body is cancelled, ``leader.lost`` is set, and
    `LockLost` comes out of the ``async with``.
    """

    _what = "lead"

    def __init__(self, engine: StateEngine, notifier: Notifier, key: bytes, ttl: float) -> None:
        super().__init__(engine, notifier, key, ttl, poll=max(POLL, ttl / _LOOKS))
