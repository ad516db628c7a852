"""Decide who gets the next connections, who accepts for a sibling, and who gives some away. Pure.

It is asked again and again with what the slots look like, and compares with the time before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

BURST: Final = 8
"""Connections that are expected before the next look, at the least: were they all sent to the one
that has the fewest, a burst that nobody foresaw would fill it alone."""

MARGIN: Final = 2
"""Connections by which a worker may differ from the average and nothing is moved."""

SHARE: Final = 0.05
"""The same as a part of the average."""

MOST_STOLEN: Final = 64
"""Connections that one order has accepted for a sibling."""

MOST_GIVEN: Final = 256
"""Connections that one order moves."""

REST: Final = 1.0
"""Seconds without orders for a worker that had nothing to give; twice as many each further time."""

LONGEST_REST: Final = 16.0

STICKY_GRACE: Final = 1.0
"""Seconds for which clients that belong to one worker wait for it before another serves them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One slot at one look."""

    slot: int
    seat: int | None
    """Of the worker that serves; None when nobody does."""
    connections: int = 0
    accepted: int = 0
    """By that worker, since it began."""
    given: int = 0
    """By that worker to others, to even out, since it began."""
    waiting: int = 0
    """In the queue of the slot's listeners."""
    is_stuck: bool = False
    """Its loop has been inside one callback for too long, or it gives no sign of life."""
    in_flight: int = 0
    """Requests that are being answered."""

    @property
    def is_open(self) -> bool:
        """Whether it can take connections now."""
        return self.seat is not None and not self.is_stuck

    @property
    def load(self) -> int:
        """Connections that are there, and that are about to be."""
        return self.connections + self.waiting


@dataclass(frozen=True, slots=True)
class Steal:
    """The worker in ``seat`` is to accept from another slot's queue."""

    seat: int
    slot: int
    count: int


@dataclass(frozen=True, slots=True)
class Give:
    """The worker in ``seat`` is to hand idle connections to the one in another seat."""

    seat: int
    to: int
    count: int


@dataclass(slots=True)
class _Queue:
    """What is remembered of a slot between two looks."""

    waiting_since: float | None = None
    accepted: int = 0
    seat: int | None = None
    is_old: bool = False
    """Nobody has taken anything from it between two looks."""


@dataclass(slots=True)
class Balance:
    """One cluster's. ``is_sticky``: connections have homes, which they leave only in need."""

    is_sticky: bool = False
    _queues: dict[int, _Queue] = field(default_factory=dict)
    _total: int = 0  # accepted by all at the last look
    _ordered: dict[int, int] = field(default_factory=dict)  # given at the last order, by seat
    _rests: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By seat: until when it is left alone, and how long that was."""

    def weights(self, slots: Sequence[Seen]) -> list[int]:
        """How new connections are to be shared out until the next look.

        Like water that is poured into vessels: as many as came since the last look bring all whom
        they reach to the same level. Who lets a queue grow old gets nothing for now.
        """
        total = sum(slot.accepted + slot.waiting for slot in slots)
        expected = max(BURST, total - self._total)
        self._total = total
        open_ = [slot for slot in slots if slot.is_open]
        able = [slot for slot in open_ if not self._is_old(slot)]
        able = able or open_ or [slot for slot in slots if slot.seat is not None] or list(slots)
        level = _level([slot.load for slot in able], expected)
        shares = {slot.slot: max(0, level - slot.load) for slot in able}
        return [shares.get(slot.slot, 0) for slot in slots]

    def homes(self, slots: Sequence[Seen]) -> list[int]:
        """For each slot the one that serves its clients: itself, or one that can for now."""
        able = [slot.slot for slot in slots if slot.seat is not None]
        if not able:
            return [slot.slot for slot in slots]
        known = set(able)
        return [slot.slot if slot.slot in known else able[slot.slot % len(able)] for slot in slots]

    def steals(self, slots: Sequence[Seen], now: float) -> list[Steal]:
        """Whose queues are to be emptied by others.

        A queue that nobody has taken anything from since the last look is old; one whose worker
        cannot take anything is taken from at once. By whom: one that has nothing to do rather than
        one that answers, for that one may be about to block, too.
        """
        neglected = [slot for slot in slots if self._is_neglected(slot, now)]
        thieves = {slot.seat: slot for slot in slots if slot.is_open and not self._is_old(slot)}
        loads = {seat: slot.connections for seat, slot in thieves.items()}
        orders = []
        for slot in neglected:
            seat = min(
                (seat for seat in thieves if seat != slot.seat),
                key=lambda seat: (thieves[seat].in_flight > 0, loads[seat]),
                default=None,
            )
            if seat is not None:
                count = min(slot.waiting, MOST_STOLEN)
                loads[seat] += count
                orders.append(Steal(seat, slot.slot, count))
        return orders

    def _is_old(self, slot: Seen) -> bool:
        return slot.slot in self._queues and self._queues[slot.slot].is_old

    def ages(self, now: float) -> dict[int, float]:
        """Seconds for which each slot's queue was not seen to move, of those that are not empty."""
        return {
            number: now - queue.waiting_since
            for number, queue in self._queues.items()
            if queue.waiting_since is not None
        }

    def gives(self, slots: Sequence[Seen], now: float) -> list[Give]:
        """Who is to give connections to whom, so that all have about the same number."""
        able = [slot for slot in slots if slot.is_open]
        if len(able) < 2:
            return []
        average = sum(slot.connections for slot in able) / len(able)
        margin = max(MARGIN, SHARE * average)
        if max(abs(slot.connections - average) for slot in able) <= margin:
            self._ordered.clear()
            self._rests.clear()
            return []
        surplus = _surplus(able)
        lacking = {seat: -more for seat, more in surplus.items() if more < 0}
        orders = []
        for slot in sorted(able, key=lambda slot: -slot.connections):
            if slot.seat is None or surplus[slot.seat] < 1:
                continue
            if self._is_resting(slot, slot.seat, now):
                continue
            left = min(surplus[slot.seat], MOST_GIVEN)
            for to in sorted(lacking, key=lambda to: -lacking[to]):
                if (count := min(left, lacking[to])) >= 1:
                    orders.append(Give(slot.seat, to, count))
                    self._ordered[slot.seat] = slot.given
                    left -= count
                    lacking[to] -= count
        return orders

    def _is_resting(self, slot: Seen, seat: int, now: float) -> bool:
        """Whether it had nothing to give the last time: what it holds is busy, or cannot move."""
        until, rest = self._rests.get(seat, (0.0, 0.0))
        ordered = self._ordered.pop(seat, None)
        if ordered is not None and ordered == slot.given:
            rest = min(2 * rest, LONGEST_REST) or REST
            until = now + rest
            self._rests[seat] = until, rest
        elif ordered is not None:
            self._rests.pop(seat, None)
        return now < until

    def _is_neglected(self, slot: Seen, now: float) -> bool:
        queue = self._queues.setdefault(slot.slot, _Queue())
        is_moving = (queue.accepted, queue.seat) != (slot.accepted, slot.seat)
        queue.accepted, queue.seat = slot.accepted, slot.seat
        queue.is_old = False
        if not slot.waiting:
            queue.waiting_since = None
            return False
        if queue.waiting_since is None or (is_moving and slot.is_open):
            queue.waiting_since = now
        else:
            queue.is_old = True
        if self.is_sticky and slot.seat is not None:
            return now - queue.waiting_since >= STICKY_GRACE
        return queue.is_old or not slot.is_open


def _surplus(slots: Sequence[Seen]) -> dict[int, int]:
    """By seat, how many more each has than when all have the same, or one more than others.

    The sum is zero, so that what is given is what is lacking. Who has most keeps the odd ones.
    """
    share, odd = divmod(sum(slot.connections for slot in slots), len(slots))
    ordered = sorted(slots, key=lambda slot: -slot.connections)
    return {
        slot.seat: slot.connections - share - (rank < odd)
        for rank, slot in enumerate(ordered)
        if slot.seat is not None
    }


def _level(loads: Sequence[int], amount: int) -> int:
    """How high ``amount`` fills the vessels that stand at ``loads`` already, rounded up."""
    ordered = sorted(loads)
    poured = 0
    for number, load in enumerate(ordered, 1):
        poured += load
        level = -(-(poured + amount) // number)
        if number == len(ordered) or level <= ordered[number]:
            return level
    raise ValueError("no vessel")
