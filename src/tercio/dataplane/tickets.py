"""One word for each connection that is between two workers: who may read it.

Each seat has a door and a number of words. The worker in the seat, the sender, writes a word when
it offers a connection; the receiver answers in the same word, once; the sender clears it when it
has seen the answer. The words outlive both of them, so each can tell what the other one had done
when it died. What the words mean is `handover.moves`' affair.

The door says which incarnation takes connections in this seat, 0 for nobody.
"""

from typing import Final, Self

from tercio.dataplane.segment import Segment

TICKETS: Final = 256
"""Words of a seat: so many connections may be on their way from one worker."""

_HEADER: Final = 8  # words; the first is the door
_SEAT: Final = _HEADER + TICKETS


class Tickets:
    """The words of all seats."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self.seats: int = len(segment.words) // _SEAT

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make them for ``seats`` workers. Raises `CouldNotStart` without memory."""
        return cls(Segment.create("tercio-tickets", seats * _SEAT * 8))

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Map what was inherited."""
        return cls(Segment.attach(descriptor))

    @property
    def descriptor(self) -> int:
        """The descriptor to pass on to a worker."""
        return self._segment.descriptor

    def read(self, seat: int, ticket: int) -> int:
        """The word of one ticket of a seat; 0: not in use."""
        return self._words[seat * _SEAT + _HEADER + ticket]

    def write(self, seat: int, ticket: int, value: int) -> None:
        """Store a word, at once and as a whole."""
        self._words[seat * _SEAT + _HEADER + ticket] = value

    def door(self, seat: int) -> int:
        """The incarnation that takes connections in a seat; 0: nobody does."""
        return self._words[seat * _SEAT]

    def set_door(self, seat: int, incarnation: int) -> None:
        """Open the seat to connections for an incarnation, or close it with 0."""
        self._words[seat * _SEAT] = incarnation

    def clear(self, seat: int) -> None:
        """Make a seat ready for another worker. Only after the one before is dead and reaped."""
        for index in range(seat * _SEAT, (seat + 1) * _SEAT):
            self._words[index] = 0

    def close(self) -> None:
        """Give up the mapping and the descriptor."""
        self._segment.close()
