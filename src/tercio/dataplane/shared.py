"""All the memory that the processes of one cluster share, as one thing to make, pass on and close.

The primary makes it before the first worker and closes it after the last; what lies in it is known
to its parts.
"""

from collections.abc import Mapping
from typing import Self

from tercio.dataplane.scoreboard import Scoreboard
from tercio.dataplane.series import SeriesBoard


class Shared:
    """What every process of the cluster maps."""

    def __init__(self, scoreboard: Scoreboard, series: SeriesBoard) -> None:
        self.scoreboard = scoreboard
        self.series = series

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make it all for ``seats`` processes. Raises `CouldNotStart` without memory."""
        return cls(Scoreboard.create(seats), SeriesBoard.create(seats))

    @classmethod
    def attach(cls, record: Mapping[str, int]) -> Self:
        """Map what was inherited. Raises `ValueError` for another layout."""
        return cls(Scoreboard.attach(record["scoreboard"]), SeriesBoard.attach(record["series"]))

    def to_record(self) -> dict[str, int]:
        """What a child that inherits `descriptors` attaches by."""
        return {"scoreboard": self.scoreboard.descriptor, "series": self.series.descriptor}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that a child must inherit."""
        return (self.scoreboard.descriptor, self.series.descriptor)

    def release(self, seat: int) -> None:
        """Keep what a dead process has counted and make its seat ready for another.

        The primary calls it, alone, and only after it has reaped the process.
        """
        self.scoreboard.fold(seat)
        self.series.fold(seat)

    def close(self) -> None:
        """Give up all mappings and descriptors."""
        self.series.close()
        self.scoreboard.close()
