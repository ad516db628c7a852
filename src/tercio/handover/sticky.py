"""Bring each request to the worker that its session belongs to.

An id that a worker has minted names its owner. Any other key has an owner in a table that all
workers share: the one that got its first request, which is the key's home among those that serve. A
worker that leaves keeps its sessions as long as it lives; then they begin anew at their homes.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Any, Final

from tercio.core import affinity
from tercio.core.model import SEATS_PER_SLOT, WorkerId
from tercio.dataplane.owners import Owners
from tercio.dataplane.scoreboard import Field, Scoreboard, WorkerPhase
from tercio.dataplane.tickets import Tickets
from tercio.handover.consignment import MOST_DATA, Cause
from tercio.handover.mover import Mover
from tercio.http.belonging import Belonging, Place
from tercio.http.peek import Head
from tercio.http.proxies import Proxies
from tercio.http.sessionkeys import SessionKeys

_LINGER: Final = 5.0
"""Seconds without a request after which a worker that leaves gives its sessions up. Clients that
poll ask again at once; the drain's limit ends it all."""

_RESERVED: Final = 64
"""Connections that may be on their way for other reasons, however many go to their owners."""

_ASK_AGAIN: Final = 0.02
"""Seconds between two looks at owners that are stuck, while somebody waits for one."""

_BATCH: Final = 32
"""Connections of one owner that go on in one turn of the loop."""

_MOST_WAITING: Final = 1024
"""Connections that wait for one owner; who comes then is told so."""


class Sticky:
    """A `belonging.Router` of the worker ``me``. ``secret`` is the cluster's."""

    def __init__(
        self,
        me: WorkerId,
        keys: SessionKeys,
        owners: Owners,
        scoreboard: Scoreboard,
        tickets: Tickets,
        secret: bytes,
        proxies: Proxies | None,
    ) -> None:
        self._me = me
        self._keys = keys
        self._owners = owners
        self._scoreboard = scoreboard
        self._tickets = tickets
        self._slots = tickets.seats // SEATS_PER_SLOT
        self._secret = secret
        self._proxies = proxies
        # For owners that are stuck; for None those that could not be sent a moment ago.
        self._waiting: dict[WorkerId | None, deque[Belonging]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._used = 0.0  # when a request came for a session of ours
        self.mover: Mover | None = None
        """Who moves connections; until then all are served here."""

    def begin_to_leave(self) -> None:
        """From now on sessions count that are asked for again; until then all may be."""
        if self._used:
            self._used = monotonic()

    def is_in_use(self) -> bool:
        """Whether sessions of this worker are still asked for, so that it should stay."""
        return monotonic() - self._used < _LINGER

    def route(self, connection: Belonging, head: Head, data: bytes) -> Place:
        key = self._keys.find(head, self._client(connection, head))
        if key is None:
            return Place.HERE
        owner = self._owner(key)
        if owner == self._me or owner is None:
            self._used = monotonic()
            return Place.HERE
        seat = self._seat(owner)
        if self.mover is None or seat is None or len(data) > MOST_DATA:
            return Place.HERE
        exchange = self.mover.exchange
        sibling = exchange.sibling(seat)
        if sibling is None:
            return Place.HERE
        if sibling.is_stuck or exchange.room <= _RESERVED:
            # Not sent: what waits in its inbox would keep others from moving.
            waiting = self._waiting.setdefault(owner, deque())
            if len(waiting) >= _MOST_WAITING:
                return Place.NOWHERE
            waiting.append(connection)
            self._wait()
            return Place.LATER
        moved = self.mover.move(connection, Cause.STICKY, seat, data)
        return Place.ELSEWHERE if moved or connection.is_released else Place.HERE

    def came(self) -> None:
        self._used = monotonic()

    def put_off(self, connection: Belonging) -> None:
        self._waiting.setdefault(None, deque()).append(connection)
        self._wait()

    def _wait(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_ASK_AGAIN, self._ask_again)

    def _ask_again(self) -> None:
        """Look at each owner that somebody waits for, and go on with some of those who do."""
        self._timer = None
        for owner, waiting in list(self._waiting.items()):
            if owner is not None and self._is_stuck(owner):
                continue
            for _ in range(min(len(waiting), _BATCH)):
                connection = waiting.popleft()
                try:
                    connection.go_on_waiting()
                except Exception:  # one connection's failure is not to be that of those behind it
                    connection.service.log.exception("a request cannot go to its worker")
                    connection.abort()
            if not waiting:
                del self._waiting[owner]
        if self._waiting:
            self._wait()

    def _is_stuck(self, owner: WorkerId) -> bool:
        seat = self._seat(owner)
        if seat is None or self.mover is None:
            return False
        sibling = self.mover.exchange.sibling(seat)
        return sibling is not None and sibling.is_stuck

    def _client(self, connection: Belonging, head: Head) -> str | None:
        host = connection.client_host
        if not self._keys.needs_address or self._proxies is None or not connection.is_trusted:
            return host
        scope: dict[str, Any] = {
            "type": "http",
            "headers": head.headers,
            "client": (host, 0) if host else None,
            "scheme": connection.scheme,
        }
        self._proxies.apply(scope)
        return scope["client"][0] if scope["client"] else None

    def _owner(self, key: bytes) -> WorkerId | None:
        minter = affinity.minter(key, self._secret)
        if minter is not None and self._seat(minter) is not None:
            return minter
        fingerprint = affinity.fingerprint(key, self._secret)
        known = self._owners.find(fingerprint)
        if known is not None and self._seat(WorkerId(*known)) is not None:
            return WorkerId(*known)
        serving = self._serving()
        slot = affinity.home(fingerprint, serving)
        if slot is None:
            return None
        self._owners.put(fingerprint, (slot, serving[slot]), self._is_alive)
        return WorkerId(slot, serving[slot])

    def _serving(self) -> dict[int, int]:
        """Who serves: incarnations by slot."""
        found = {}
        for seat in range(self._slots * SEATS_PER_SLOT):
            words = self._scoreboard.row(seat).words
            if words[Field.PHASE] == WorkerPhase.SERVING and self._is_open(seat):
                found[seat // SEATS_PER_SLOT] = words[Field.INCARNATION]
        return found

    def _seat(self, worker: WorkerId) -> int | None:
        """Where a worker lives; None if it is gone, or takes nothing any more, or not yet."""
        first = worker.slot * SEATS_PER_SLOT
        if worker.slot >= self._slots:
            return None
        for seat in range(first, first + SEATS_PER_SLOT):
            words = self._scoreboard.row(seat).words
            if words[Field.INCARNATION] == worker.incarnation and self._is_open(seat):
                return seat
        return None

    def _is_open(self, seat: int) -> bool:
        incarnation = self._scoreboard.row(seat).words[Field.INCARNATION]
        return bool(incarnation) and self._tickets.door(seat) == incarnation

    def _is_alive(self, worker: tuple[int, int]) -> bool:
        return self._seat(WorkerId(*worker)) is not None
