"""Choose who gets a connection: look at what the other workers say in their rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tercio.dataplane.scoreboard import Field, Scoreboard, WorkerPhase
from tercio.dataplane.tickets import Tickets

_SLACK: Final = 250_000_000
"""Nanoseconds that a watchdog may be late before its worker is thought to be stopped."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another worker that takes connections."""

    seat: int
    incarnation: int
    connections: int
    """Those that are on their way to it included."""
    in_flight: int
    """Requests that it is answering."""
    is_serving: bool
    is_stuck: bool
    """Its loop is in one callback, or its watchdog has not beaten when it said it would."""


def at(
    seat: int, scoreboard: Scoreboard, tickets: Tickets, now: int, sent: int = 0
) -> Sibling | None:
    """The worker in a seat, if it takes connections.

    ``now`` is in nanoseconds of the monotonic clock; ``sent`` connections are on their way to it.
    """
    row = scoreboard.row(seat)
    incarnation = row[Field.INCARNATION]
    if not incarnation or tickets.door(seat) != incarnation:
        return None
    due = row[Field.WATCH_DUE]
    return Sibling(
        seat,
        incarnation,
        row[Field.CONNECTIONS] + sent,
        row[Field.IN_FLIGHT],
        row[Field.PHASE] == WorkerPhase.SERVING,
        bool(row[Field.SUSPECT] or (due and now > due + _SLACK)),
    )


def best(siblings: Iterable[Sibling | None]) -> Sibling | None:
    """The one with the fewest connections of those that serve and are not stuck; None: nobody.

    One that has nothing to do before one that answers: that one may be about to be stuck, too.
    """
    able = (each for each in siblings if each and each.is_serving and not each.is_stuck)
    return min(able, key=lambda each: (each.in_flight > 0, each.connections), default=None)


def is_dead(seat: int, incarnation: int, scoreboard: Scoreboard) -> bool:
    """Whether a worker has ended and was reaped: it does nothing any more."""
    return scoreboard.row(seat)[Field.INCARNATION] != incarnation
