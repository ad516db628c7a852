"""Look at the queues and loads of all slots, and see to it that nobody waits for a busy worker.

One process looks, so that eight idle ones need not: every 5 ms while connections come, else with
the primary's samples. A connection that comes while it rests wakes it, once: the listeners are in
an epoll set of its own, edge-triggered, and nothing is accepted here.

What it finds goes to `core.balance`; what that decides becomes a program in the kernel (weights)
and orders to workers. When it does not run, the last program stays, and every worker goes on to
accept from its own slot.
"""

import asyncio
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from tercio.core.balance import Balance, Seen
from tercio.core.cluster import Cluster
from tercio.core.model import Slot, WorkerId
from tercio.dataplane.scoreboard import Fact, Field, Scoreboard
from tercio.system import bpf, queues

_FAST: Final = 0.005  # seconds between two looks while connections come
_SLOW: Final = 1.0  # about what is between two looks while none come
_QUIET: Final = 1.0  # seconds without a connection until it rests
_LEVEL: Final = 0.25  # seconds between two looks at who has too many
_SHARE: Final = 0.02  # of one core, for looking: with many slots it looks less often
_OVERDUE: Final = 100_000_000  # nanoseconds by which a watchdog's beat may be late

Groups = Sequence[Sequence[socket.socket]]
"""For each address, its listeners by slot."""

Send = Callable[[WorkerId, Mapping[str, object]], None]


class Looker:
    """``groups`` are the listeners that have slots; none of them is accepted from here.

    ``policy`` is that of ``--balance``; ``can_move`` says that workers can give each other
    connections.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cluster: Callable[[], Cluster],
        scoreboard: Scoreboard,
        send: Send,
        groups: Groups,
        *,
        policy: str,
        can_move: bool,
    ) -> None:
        self._loop = loop
        self._cluster = cluster
        self._scoreboard = scoreboard
        self._send = send
        self._groups = groups
        self._is_sticky = policy == "sticky-ip"
        self._is_blind = policy == "reuseport"  # to all loads: every slot has the same share
        self._can_move = can_move and not self._is_sticky
        self._balance = Balance(self._is_sticky)
        self._shares: list[int] = []
        self._programs: dict[int, list[int]] = {}  # by group: what it was last told
        self._seen: list[Seen] = []
        self._serving: list[tuple[int, ...]] = []  # incarnations by slot, at the last look
        self._accepted = -1
        self._moved_at = 0.0  # when a connection last came
        self._levelled_at = 0.0
        self._looked_at = 0.0
        self._cost = 0.0  # seconds of CPU a look, lately
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = False
        self._hints = _Hints(loop, groups, self._wake)
        self.stolen = 0
        """Connections that were ordered to be accepted by another worker than the slot's."""

    def start(self) -> None:
        """Look from now on."""
        self._is_open = True
        self._look()

    def notice(self) -> None:
        """Workers may have come or gone: if so, look now."""
        if self._is_open and self._serving != self._serving_now():
            self.look()

    def look(self) -> None:
        """Look now; to be called about once a second, which is enough while no connection comes."""
        if self._is_open:
            if self._timer is not None:
                self._timer.cancel()
            self._look()

    def close(self) -> None:
        """Look no more."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._hints.close()

    def describe(self, now: float) -> list[dict[str, object]]:
        """Each slot's share of new connections, and its queue, for `status`."""
        ages = self._balance.ages(now)
        total = 0 if self._is_sticky else sum(self._shares)
        wanted = self._cluster().target
        return [
            {
                "slot": seen.slot,
                "waiting": seen.waiting,
                "waiting_seconds": round(ages.get(seen.slot, 0.0), 3),
                "share": round(self._shares[seen.slot] / total, 3) if total else None,
                "is_stuck": seen.is_stuck,
            }
            for seen in self._seen
            if seen.slot < wanted or seen.waiting
        ]

    def _wake(self) -> None:
        """A connection came while this rested."""
        self._moved_at = time.monotonic()
        self.look()

    def _look(self) -> None:
        self._timer = None
        self._scoreboard.state({Fact.LOOKED: time.monotonic_ns()})
        # CPU time: on a busy machine a look takes long, and must not be put off for that.
        began = time.thread_time()
        try:
            self._take_in(time.monotonic())
        finally:
            # Whatever one look met, the next one comes.
            self._cost += (time.thread_time() - began - self._cost) / 8
            is_fast = time.monotonic() - self._moved_at < _QUIET
            if not is_fast:
                self._hints.arm()
            if is_fast:
                self._timer = self._loop.call_later(max(_FAST, self._cost / _SHARE), self._look)

    def _take_in(self, now: float) -> None:
        is_late = now - self._looked_at > 2 * _SLOW
        self._looked_at = now
        cluster = self._cluster()
        if cluster.stopping is not None:
            return
        self._serving = self._serving_now()
        seen = self._seen = [self._see(slot, now, is_late) for slot in self._slots(cluster)]
        accepted = sum(slot.accepted for slot in seen)
        if accepted != self._accepted or any(slot.waiting for slot in seen):
            self._accepted = accepted
            self._moved_at = now
        for order in self._balance.steals(seen, now):
            self.stolen += order.count
            self._tell(order.seat, {"type": "steal", "slot": order.slot, "count": order.count})
        self._share_out(seen)
        if self._can_move and now - self._levelled_at >= _LEVEL:
            self._levelled_at = now
            for give in self._balance.gives(seen, now):
                self._moved_at = now
                self._tell(give.seat, {"type": "give", "count": give.count, "to": give.to})

    def _serving_now(self) -> list[tuple[int, ...]]:
        return [
            (slot.number, *(worker.id.incarnation for worker in slot.serving))
            for slot in self._cluster().slots.values()
        ]

    def _slots(self, cluster: Cluster) -> list[Slot]:
        """All that have listeners, in the order of those; else those that are wanted."""
        most = max((len(group) for group in self._groups), default=cluster.target)
        return [cluster.slots.get(number) or Slot(number) for number in range(most)]

    def _see(self, slot: Slot, now: float, is_late: bool) -> Seen:
        waiting = sum(
            queues.waiting(group[slot.number]) for group in self._groups if slot.number < len(group)
        )
        serving = slot.serving
        if not serving:
            return Seen(slot.number, None, waiting=waiting)
        worker = serving[-1]
        words = self._scoreboard.row(worker.seat).words
        due = words[Field.WATCH_DUE]
        # One that was late itself cannot tell whether others are.
        is_silent = bool(due) and not is_late and now * 1e9 > due + _OVERDUE
        return Seen(
            slot.number,
            worker.seat,
            words[Field.CONNECTIONS],
            words[Field.ACCEPTED],
            words[Field.MOVED_REBALANCE],
            waiting,
            is_silent or bool(words[Field.SUSPECT]),
            words[Field.IN_FLIGHT],
        )

    def _share_out(self, seen: Sequence[Seen]) -> None:
        if not self._groups:
            return
        choose = self._balance.homes if self._is_sticky else self._balance.weights
        wanted = max(1, self._cluster().target)
        # An address has a share for each slot that is wanted; the others weigh nothing.
        shares = [1] * wanted if self._is_blind else choose(seen[:wanted])
        self._shares = shares if self._is_sticky else [*shares, *[0] * (len(seen) - wanted)]
        for number, group in enumerate(self._groups):
            if self._shares == self._programs.get(number):
                continue
            make = bpf.by_address if self._is_sticky else bpf.weighted
            with suppress(OSError):  # the last one stays; the next look tries again
                bpf.attach(group[0], make(self._shares[: len(group)]))
                self._programs[number] = self._shares

    def _tell(self, seat: int, message: Mapping[str, object]) -> None:
        cluster = self._cluster()
        for worker in cluster.workers():
            if worker.seat == seat:
                self._send(worker.id, message)


class _Hints:
    """Say once that a connection came, if asked to."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, groups: Groups, wake: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._wake = wake
        self._is_armed = False
        self._epoll = None
        if groups and hasattr(select, "epoll"):
            self._epoll = select.epoll()
            for group in groups:
                for listener in group:
                    self._epoll.register(listener, select.EPOLLIN | select.EPOLLET)

    def arm(self) -> None:
        """Call back at the next connection."""
        if self._epoll is None or self._is_armed:
            return
        self._epoll.poll(0)  # what came until now is known
        self._loop.add_reader(self._epoll.fileno(), self._hint)
        self._is_armed = True

    def close(self) -> None:
        self._disarm()
        if self._epoll is not None:
            self._epoll.close()

    def _hint(self) -> None:
        self._disarm()
        self._wake()

    def _disarm(self) -> None:
        if self._epoll is not None and self._is_armed:
            self._loop.remove_reader(self._epoll.fileno())
            self._is_armed = False
