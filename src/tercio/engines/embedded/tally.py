"""What the readers of a process have counted, those that have ended, too."""

from collections.abc import Iterable
from typing import Final

from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.scoreboard import Field

_ALL: Final = (1 << 64) - 1

_RECEIVED: Final = int(Field.BUS_RECEIVED)
_LOST: Final = int(Field.BUS_LOST)
_BAD: Final = int(Field.BUS_BAD)


class Tally:
    """Numbers that never fall."""

    def __init__(self, row: "memoryview[int]") -> None:
        """``row`` has the words in which this process counts for others to see."""
        self._row = row
        self._received = self._lost = self._bad = 0  # of those that have ended
        self.missed_wakeups: int = 0

    def keep(self, reader: RingReader) -> None:
        """A reader has ended."""
        self._received += reader.received
        self._lost += reader.lost
        self._bad += reader.bad

    def write(self, readers: Iterable[RingReader]) -> None:
        """Show it to others. ``readers`` are those that go on."""
        received, lost, bad = self._received, self._lost, self._bad
        for reader in readers:
            received += reader.received
            lost += reader.lost
            bad += reader.bad
        row = self._row
        row[_RECEIVED] = received
        row[_LOST] = lost & _ALL
        row[_BAD] = bad

    def counters(self, readers: Iterable[RingReader]) -> dict[str, int]:
        """The same by name: received, lost, bad, missed_wakeups."""
        received, lost, bad = self._received, self._lost, self._bad
        for reader in readers:
            received += reader.received
            lost += reader.lost
            bad += reader.bad
        return {
            "received": received,
            "lost": lost,
            "bad": bad,
            "missed_wakeups": self.missed_wakeups,
        }
