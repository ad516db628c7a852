"""All the memory that the processes of one cluster share, as one thing to make, pass on and close.

The primary makes it before the first worker and closes it after the last; what lies in it is known
to its parts.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, Self

from tercio.dataplane.inboxes import Inboxes
from tercio.dataplane.owners import Owners
from tercio.dataplane.rings import Rings
from tercio.dataplane.scoreboard import Field, Scoreboard
from tercio.dataplane.series import SeriesBoard
from tercio.dataplane.tails import Tail, Tails
from tercio.dataplane.tickets import Tickets

RING_SIZE: Final = 4 << 20
"""Bytes of a process' messages that others have not read yet."""

_LATE: Final = 10
"""Times that an inbox is looked at after its worker's death, about once a second."""


class Shared:
    """What every process maps; `tickets`, `inboxes` and `owners` are the workers' alone."""

    def __init__(
        self,
        scoreboard: Scoreboard,
        series: SeriesBoard,
        rings: Rings,
        tickets: Tickets | None = None,
        inboxes: Inboxes | None = None,
        owners: Owners | None = None,
    ) -> None:
        self.scoreboard = scoreboard
        self.series = series
        self.rings = rings
        self.tickets = tickets
        self.inboxes = inboxes
        self.owners = owners
        self.tails: Tails | None = None
        """The primary's: what workers wrote at last."""
        self.tail: Tail | None = None
        """The worker's own."""
        self._emptied: dict[
            int, int
        ] = {}  # seats whose inboxes are to be looked at again, how often

    @classmethod
    def create(cls, seats: int, ring_size: int = RING_SIZE, workers: int | None = None) -> Self:
        """Make it all for ``seats`` processes, with rings of ``ring_size`` bytes.

        The first ``workers`` of them, or all, are workers that give each other connections.
        Raises `CouldNotStart` without memory or descriptors.
        """
        with ExitStack() as undo:
            scoreboard = Scoreboard.create(seats)
            undo.callback(scoreboard.close)
            series = SeriesBoard.create(seats)
            undo.callback(series.close)
            rings = Rings.create(seats, ring_size)
            undo.callback(rings.close)
            tickets, owners, inboxes = None, None, None
            if movers := seats if workers is None else workers:
                tickets = Tickets.create(movers)
                undo.callback(tickets.close)
                owners = Owners.create()
                undo.callback(owners.close)
                inboxes = Inboxes.create(movers)
                undo.callback(inboxes.close)
            tails = Tails.create(seats)
            undo.pop_all()
        shared = cls(scoreboard, series, rings, tickets, inboxes, owners)
        shared.tails = tails
        return shared

    @classmethod
    def attach(cls, record: Mapping[str, int], seat: int | None = None) -> Self:
        """Map what was inherited, by the worker in ``seat`` or by another process.

        Raises `ValueError` for another layout.
        """
        shared = cls(
            Scoreboard.attach(record["scoreboard"]),
            SeriesBoard.attach(record["series"]),
            Rings.attach(record),
        )
        if seat is not None and "tickets" in record:
            shared.tickets = Tickets.attach(record["tickets"])
            shared.owners = Owners.attach(record["owners"])
            shared.inboxes = Inboxes.attach(record, seat)
        if seat is not None and "tails" in record:
            shared.tail = Tail(record["tails"], seat)
        return shared

    def to_record(self, seat: int | None = None) -> dict[str, int]:
        """The descriptors that a child must inherit, by name; with ``seat`` those of a worker."""
        record = {
            "scoreboard": self.scoreboard.descriptor,
            "series": self.series.descriptor,
            **self.rings.to_record(),
        }
        if seat is not None and self.tickets and self.inboxes and self.owners:
            record["tickets"] = self.tickets.descriptor
            record["owners"] = self.owners.descriptor
            record |= self.inboxes.to_record(seat)
        if seat is not None and self.tails is not None:
            record["tails"] = self.tails.descriptor
        return record

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that a child that is no worker must inherit."""
        return tuple(self.to_record().values())

    def release(self, seat: int) -> None:
        """Keep what a dead process has counted and make its seat ready for another.

        The primary calls it, alone, and only after it has reaped the process.
        """
        self.scoreboard.fold(seat)
        self.series.fold(seat)
        self.rings.release(seat)
        if self.tails is not None:
            self.tails.release(seat)
        if self.tickets is not None and seat < self.tickets.seats:
            # After the row, which says that the worker is dead: from here on its siblings have
            # back what they gave it, and what comes still is thrown away by who comes next.
            self.tickets.clear(seat)
            self._empty_inbox(seat)
            self._emptied[seat] = _LATE

    def tidy(self) -> None:
        """Give back memory that dead processes have left. The primary calls it now and then."""
        self.rings.tidy()
        if self.tickets is None:
            return
        for seat, times in list(self._emptied.items()):
            # A sender that looked just before the worker was reaped may have been late.
            if not self.scoreboard.row(seat)[Field.PID]:
                self._empty_inbox(seat)
            if times > 1:
                self._emptied[seat] = times - 1
            else:
                del self._emptied[seat]

    def _empty_inbox(self, seat: int) -> None:
        if self.inboxes is not None:
            self.inboxes.discard(seat)

    def close(self) -> None:
        """Give up all mappings and descriptors."""
        if self.tails is not None:
            self.tails.close()
        if self.tail is not None:
            self.tail.close()
        if self.owners is not None:
            self.owners.close()
        if self.inboxes is not None:
            self.inboxes.close()
        if self.tickets is not None:
            self.tickets.close()
        self.rings.close()
        self.series.close()
        self.scoreboard.close()
