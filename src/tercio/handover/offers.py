"""The connections that one worker has offered to others and that are not answered. Pure.

It gives each a ticket and a word, and says how they ended; it sends and closes nothing.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tercio.handover.consignment import Cause, Consignment
from tercio.handover.moves import Outcome, offer_word, outcome
from tercio.http.luggage import Luggage


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A connection that is somebody else's, unless the word says otherwise in the end."""

    connection: socket.socket
    consignment: Consignment

    @property
    def cause(self) -> Cause:
        """Why it moves."""
        return self.consignment.cause

    @property
    def luggage(self) -> Luggage:
        """What travels along."""
        return self.consignment.luggage


class Offers:
    """Of one worker, ``seat`` and ``incarnation``; there are ``most`` at a time."""

    def __init__(self, seat: int, incarnation: int, most: int) -> None:
        self._seat = seat
        self._incarnation = incarnation
        self._count = 0
        self._free = list(range(most))
        self._open: dict[int, Offer] = {}
        self.sent: Counter[int] = Counter()
        """How many are open, by the receiver's seat."""

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._open.values())

    @property
    def room(self) -> int:
        """How many more there may be."""
        return len(self._free)

    def make(
        self,
        connection: socket.socket,
        luggage: Luggage,
        cause: Cause,
        to: int,
        to_incarnation: int,
    ) -> Offer:
        """Take a ticket, which `room` has been asked for."""
        ticket = self._free.pop()
        self._count += 1
        word = offer_word(self._incarnation, self._count)
        offer = Offer(
            connection,
            Consignment(
                self._seat, self._incarnation, to, to_incarnation, ticket, word, cause, luggage
            ),
        )
        self._open[ticket] = offer
        self.sent[to] += 1
        return offer

    def end(self, offer: Offer) -> None:
        """Give its ticket back."""
        ticket = offer.consignment.ticket
        del self._open[ticket]
        self._free.append(ticket)
        self.sent[offer.consignment.to] -= 1

    def ended(
        self, is_dead: Callable[[int, int], bool], read: Callable[[int], int]
    ) -> list[tuple[Offer, Outcome]]:
        """Those that have come to an end, with their tickets given back.

        ``is_dead`` is asked for a receiver's seat and incarnation before ``read`` is for a word.
        """
        ended = []
        for offer in tuple(self._open.values()):
            sent = offer.consignment
            dead = is_dead(sent.to, sent.to_incarnation)
            found = outcome(sent.word, read(sent.ticket), is_dead=dead)
            if found is not None:
                self.end(offer)
                ended.append((offer, found))
        return ended
