"""Say which worker should take the next connection of a listener that all of them share.

The kernel wakes all, and the fastest has it: mostly the same one, as long as it has nothing to do.
So a worker that has many more than another leaves the connection to that one for a moment. Some
difference is allowed: else all would wait for one worker at each connection (2,900 short ones a
second were accepted that way, and 8,000 with a margin of 8, by four workers on two cores).
"""

import socket
import time
from collections.abc import Collection
from typing import Final

from tercio.dataplane.scoreboard import Field, Scoreboard, WorkerPhase

MARGIN: Final = 8
"""Connections that a worker may have more than the one that has the fewest."""

_OVERDUE: Final = 100_000_000  # nanoseconds by which a watchdog's beat may be late


class SharedTurns:
    """See `servers.entrance.Turns`. ``shared`` are descriptors, ``seat`` is one's own."""

    def __init__(self, scoreboard: Scoreboard, seat: int, shared: Collection[int]) -> None:
        self._rows = [
            scoreboard.row(each).words for each in range(scoreboard.seats) if each != seat
        ]
        self._shared = shared

    def is_shared(self, listener: socket.socket) -> bool:
        """Whether all workers accept from it."""
        return listener.fileno() in self._shared

    def is_anothers(self, held: int) -> bool:
        """Whether a worker that serves, and has nothing to do, has so many fewer connections."""
        if held <= MARGIN:
            return False
        now = 0
        for words in self._rows:
            if words[Field.PHASE] != WorkerPhase.SERVING or words[Field.IN_FLIGHT]:
                continue
            if words[Field.CONNECTIONS] + MARGIN >= held or words[Field.SUSPECT]:
                continue
            now = now or time.monotonic_ns()
            due = words[Field.WATCH_DUE]
            if not due or now <= due + _OVERDUE:
                return True
        return False
