"""Choose who gets a connection: look at what the other workers say in their rows."""

from collections.abc import Container, Mapping
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


def at(seat: int, scoreboard: Scoreboard, tickets: Tickets) -> Sibling | None:
    """The worker in a seat, serving or not, if it takes connections."""
    row = scoreboard.row(seat)
    incarnation = row[Field.INCARNATION]
    if not incarnation or tickets.door(seat) != incarnation:
        return None
    return Sibling(seat, incarnation, row[Field.CONNECTIONS])


def best(
    scoreboard: Scoreboard,
    tickets: Tickets,
    now: int,
    *,
    but: Container[int],
    sent: Mapping[int, int],
) -> Sibling | None:
    """The one with the fewest connections of those that serve and are not stuck; None: nobody.

    ``now`` is in nanoseconds of the monotonic clock, ``but`` the seats that are out of the
    question, ``sent`` says how many connections are on their way to a seat and in no row yet.
    """
    found: Sibling | None = None
    for seat in range(tickets.seats):
        if seat in but or (sibling := at(seat, scoreboard, tickets)) is None:
            continue
        row = scoreboard.row(seat)
        due = row[Field.WATCH_DUE]
        is_stuck = row[Field.SUSPECT] or (due and now > due + _SLACK)
        if row[Field.PHASE] != WorkerPhase.SERVING or is_stuck:
            continue
        connections = sibling.connections + sent.get(seat, 0)
        if found is None or connections < found.connections:
            found = Sibling(seat, sibling.incarnation, connections)
    return found


def is_dead(seat: int, incarnation: int, scoreboard: Scoreboard) -> bool:
    """Whether a worker has ended and was reaped: it does nothing any more."""
    return scoreboard.row(seat)[Field.INCARNATION] != incarnation
