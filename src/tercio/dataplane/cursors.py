"""Readers that publishers wait for, and how far they are.

Each pair of writer and reader has a word: the position up to which the reader has taken the
writer's ring, plus one, or 0 while nobody is to be waited for. The reader's process alone writes
it; the primary clears it when the process is dead.
"""

from collections.abc import Sequence

from tercio.dataplane.rings import Rings


class Cursors:
    """The view of the process that holds ``seat``."""

    def __init__(self, rings: Rings, seat: int) -> None:
        self._rings = rings
        self._seat = seat
        self._said = [0] * rings.seats

    def say(self, positions: Sequence[int | None]) -> None:
        """Say how far we are with each ring; None for one whose writer need not wait for us.

        Who waits for that is woken.
        """
        rings, me = self._rings, self._seat
        words = [0 if each is None else each + 1 for each in positions]
        if words == self._said:
            return
        for writer, word in enumerate(words):
            if word != self._said[writer]:
                rings.words[rings.cursor(writer, me)] = word
        self._said = words
        rings.fence()
        waiting = bytes(rings.waiting)
        writer = waiting.find(1)
        while writer >= 0:
            rings.waiting[writer] = 0
            rings.wakes.wake(writer)
            writer = waiting.find(1, writer + 1)

    def slowest(self) -> int | None:
        """How far the slowest of them is with our ring; None if there is nobody to wait for."""
        first = self._rings.cursor(self._seat, 0)
        said = self._rings.words[first : first + self._rings.seats].tolist()
        slowest: int = min((word for word in said if word), default=0)
        return slowest - 1 if slowest else None

    def ask(self, *, is_waiting: bool) -> None:
        """Ask to be woken when somebody has taken something; look again after that."""
        self._rings.waiting[self._seat] = is_waiting
        self._rings.fence()
