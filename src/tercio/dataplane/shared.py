"""All the memory that the processes of one cluster share, as one thing to make, pass on and close.

The primary makes it before the first worker and closes it after the last; what lies in it is known
to its parts.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, Self

from tercio.dataplane.rings import Rings
from tercio.dataplane.scoreboard import Scoreboard
from tercio.dataplane.series import SeriesBoard

RING_SIZE: Final = 4 << 20
"""Bytes of a process' messages that others have not read yet."""


class Shared:
    """What every process of the cluster maps."""

    def __init__(self, scoreboard: Scoreboard, series: SeriesBoard, rings: Rings) -> None:
        self.scoreboard = scoreboard
        self.series = series
        self.rings = rings

    @classmethod
    def create(cls, seats: int, ring_size: int = RING_SIZE) -> Self:
        """Make it all for ``seats`` processes, with rings of ``ring_size`` bytes.

        Raises `CouldNotStart` without memory or descriptors.
        """
        with ExitStack() as undo:
            scoreboard = Scoreboard.create(seats)
            undo.callback(scoreboard.close)
            series = SeriesBoard.create(seats)
            undo.callback(series.close)
            rings = Rings.create(seats, ring_size)
            undo.pop_all()
        return cls(scoreboard, series, rings)

    @classmethod
    def attach(cls, record: Mapping[str, int]) -> Self:
        """Map what was inherited. Raises `ValueError` for another layout."""
        return cls(
            Scoreboard.attach(record["scoreboard"]),
            SeriesBoard.attach(record["series"]),
            Rings.attach(record),
        )

    def to_record(self) -> dict[str, int]:
        """What a child that inherits `descriptors` attaches by: their numbers, by name."""
        return {
            "scoreboard": self.scoreboard.descriptor,
            "series": self.series.descriptor,
            **self.rings.to_record(),
        }

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that a child must inherit."""
        return tuple(self.to_record().values())

    def release(self, seat: int) -> None:
        """Keep what a dead process has counted and make its seat ready for another.

        The primary calls it, alone, and only after it has reaped the process.
        """
        self.scoreboard.fold(seat)
        self.series.fold(seat)
        self.rings.release(seat)

    def tidy(self) -> None:
        """Give back memory that dead processes have left. The primary calls it now and then."""
        self.rings.tidy()

    def close(self) -> None:
        """Give up all mappings and descriptors."""
        self.rings.close()
        self.series.close()
        self.scoreboard.close()
