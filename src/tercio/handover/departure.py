"""Empty a worker that leaves: its connections go on with its heirs, or with any sibling.

    idle ones go at once, busy ones when they come to rest. While somebody takes them, no answer is
    the last of its connection.
      |--nobody takes them, or most of the time is over--> those that are left end here: answers are
         the last, quiet ones are closed. What comes to rest still goes, should somebody take it.

WebSockets and half-read requests are not moved, and end as in any drain.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final, Protocol

from tercio.handover.consignment import Cause
from tercio.handover.exchange import Exchange
from tercio.http.connection import Connection
from tercio.http.hooks import Watch
from tercio.http.service import Service

_BATCH: Final = 64
"""Connections a turn of the loop: what is asked meanwhile is answered meanwhile."""

_PERIOD: Final = 0.05
"""Seconds between two looks for what nobody tells: a new sibling, an answer that is sent at last.

A worker that drains is no idle process."""

_WHOLE_LOOK: Final = 0.25
"""Seconds between two looks at all connections, which may be many thousands."""

_PATIENCE: Final = 5
"""Looks in a row that find nobody to give to: a sibling may be blocked for a moment."""

_LINGERING_PART: Final = 0.6
"""Of a drain's time, at its beginning: until then it stays for what is expected of it."""

_CLOSING_PART: Final = 0.2
"""Of a drain's time, at its end: who asks and asks is never at rest, and is told to go then."""


class Moving(Protocol):
    """The worker's `mover.Mover`."""

    @property
    def exchange(self) -> Exchange: ...
    @property
    def service(self) -> Service: ...
    def idle(self) -> Iterator[Connection]: ...
    def move(self, connection: Connection, cause: Cause, to: int) -> bool: ...


class Departure:
    """A `servers.drain.Away`. ``heirs`` are seats in order; after them comes whoever is best."""

    def __init__(
        self, mover: Moving, heirs: Sequence[int], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._mover = mover
        self._exchange = mover.exchange
        self._heirs = heirs
        self._loop = loop
        # Who does not take what it is given, or has died: incarnations by seat.
        self._refused: dict[int, int] = {}
        self._resting: deque[Connection] = deque()  # they were, when they were put here
        self._next_watch: Watch | None = None
        self._stay: Callable[[], None] | None = None
        self._look: Callable[[], None] | None = None
        self._is_scheduled = False
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._alone = 0  # looks in a row that found nobody
        self.lingers: Callable[[], bool] = _no
        """Whether something is expected for which this worker should stay, if there is time."""

    # What a drain asks

    @property
    def outstanding(self) -> int:
        return self._exchange.outstanding + (not self._is_over and self.lingers())

    def begin(self, limit: float, stay: Callable[[], None], look: Callable[[], None]) -> None:
        self._stay, self._look = stay, look
        service = self._mover.service
        self._next_watch, service.watch = service.watch, self
        self._closing = self._loop.call_later(limit * (1 - _CLOSING_PART), self._end_here)
        self._lingering = self._loop.call_later(limit * _LINGERING_PART, self._linger_no_more)
        self._tick()

    def end(self) -> None:
        if self._look is None or self._is_over:
            return
        # From here on nothing may come, sessions of this worker included: what is left is cut.
        self._exchange.shut()
        self._is_over = True
        self._stay = None
        self._resting.clear()
        self._mover.service.watch = self._next_watch
        for timer in (self._timer, self._closing, self._lingering):
            if timer is not None:
                timer.cancel()

    # What the mover tells

    def refused(self, seat: int, incarnation: int) -> None:
        """A worker does not take them, or has died: the others are asked."""
        self._refused[seat] = incarnation

    def arrived(self) -> None:
        """Some are where they were sent: there is room for more on their way."""
        if self._look is not None:
            self._schedule()
            self._look()  # also when it is over: a drain ends when nothing is on its way any more

    # What the service tells: a `http.hooks.Watch`

    def connection_busy(self, connection: object) -> None:
        if self._next_watch is not None:
            self._next_watch.connection_busy(connection)

    def connection_idle(self, connection: object) -> None:
        if self._next_watch is not None:
            self._next_watch.connection_idle(connection)
        if isinstance(connection, Connection):
            self._resting.append(connection)
            self._schedule()  # not now: whoever calls is not done with it

    def connection_upgraded(self, connection: object) -> None:
        if self._next_watch is not None:
            self._next_watch.connection_upgraded(connection)

    # Sending away

    def _tick(self) -> None:
        if self._is_over:
            return
        self._timer = self._loop.call_later(_PERIOD, self._tick)
        now = monotonic()
        if not self._resting and now - self._looked >= _WHOLE_LOOK:
            self._looked = now
            self._resting.extend(self._mover.idle())
        self._alone = self._alone + 1 if self._to() is None else 0
        if self._alone >= _PATIENCE:
            self._end_here()
        self._turn()
        if not self.outstanding and self._look is not None:
            self._look()  # nobody else tells that nothing is expected any more

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_over:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._is_over:
            return
        for _ in range(_BATCH):
            if not self._resting or not self._exchange.room or (to := self._to()) is None:
                return  # what comes next, or the timer, goes on
            connection = self._resting.popleft()
            can_move = connection.is_idle and connection.claim()
            if can_move and not self._mover.move(connection, Cause.DRAIN, to):
                return  # no room in an inbox: it is served here until the next look
        self._schedule()

    def _to(self) -> int | None:
        """The seat that gets the next one; None: there is nobody."""
        for seat in self._heirs:
            if self._takes(seat):
                return seat
        sibling = self._exchange.best(but=[seat for seat in self._refused if not self._takes(seat)])
        return None if sibling is None else sibling.seat

    def _takes(self, seat: int) -> bool:
        sibling = self._exchange.sibling(seat)
        if sibling is None or sibling.is_stuck:
            return False
        return self._refused.get(seat) != sibling.incarnation

    def _linger_no_more(self) -> None:
        """Others serve what was expected here. Connections still go: none has to be closed."""
        self.lingers = _no
        self._exchange.shut()

    def _end_here(self) -> None:
        stay, self._stay = self._stay, None
        if stay is not None:
            stay()


def _no() -> bool:
    return False
