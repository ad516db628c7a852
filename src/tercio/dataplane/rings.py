"""Where everything lies in the shared memory of the bus: control words and a ring a seat.

A ring has one writer, the process that holds the seat, and any number of readers, who write
nothing into it. Positions are bytes since the cluster's start: they only grow, and ``position %
capacity`` is the place in the ring.

For each seat there is

- ``head``: what is before it is complete. A border between two batches.
- ``reserve``: what is before ``reserve - capacity`` may be overwritten. Raised before the bytes are
  written, never lowered, not even by the next holder of the seat: a dead writer may have left half
  a batch behind its head, over what readers were about to read.
- ``sequence``: the number of the message that comes next;
- marks: where the latest batch begins in each eighth of the ring, to go on from after a loss;
- a byte "asleep": the process wants to be woken;
- a byte "waiting": it waits for room in its own ring;
- a word for each reader that publishers wait for: how far it is, plus one; 0 if it is none.

Which seat may be written by whom is the primary's business.
"""

import os
import platform
import sys
import threading
from collections.abc import Mapping
from typing import Final, Self

from tercio.dataplane.frames import LEAST_CAPACITY
from tercio.dataplane.parcels import Parcels
from tercio.dataplane.segment import Segment
from tercio.dataplane.wake import Wakes
from tercio.errors import CouldNotStart

LAYOUT: Final = 1

MARKS: Final = 16
"""Words of marks a seat: two rounds of eighths, so that an old one is told by its position."""

POSITION_LIMIT: Final = 1 << 60
"""No honest writer gets there; what is beyond was written by a broken one."""

_MAGIC: Final = 0x5445_5243_494F_0002
_HEADER: Final = 8  # words
_PAGE: Final = 4096
_LINE: Final = 8  # words of a cache line


class Rings:
    """The rings of all seats, with the wake-ups and parcels that belong to them."""

    def __init__(self, segment: Segment, wakes: Wakes, parcels: Parcels | None) -> None:
        words = segment.words
        if words[0] != _MAGIC or words[1] != LAYOUT:
            raise ValueError("not the rings of this layout")
        self._segment = segment
        self.wakes = wakes
        self.parcels = parcels
        self.words = words
        self.seats: int = words[2]
        self.capacity: int = words[3]
        self.is_careful: bool = words[4] == 1
        """Whether every batch is checked by its sum, as stores may be seen in another order."""
        plan = _Plan(self.seats, self.capacity)
        self.heads: int = plan.heads
        self.reserves: int = plan.reserves
        self.sequences: int = plan.sequences
        self.marks: int = plan.marks
        self.cursors: int = plan.cursors
        memory = words.cast("B")
        self.head_bytes: memoryview[int] = memory[plan.heads * 8 : (plan.heads + self.seats) * 8]
        self.head_words: memoryview[int] = words[plan.heads : plan.heads + self.seats]
        self.asleep: memoryview[int] = memory[plan.asleep : plan.asleep + self.seats]
        self.waiting: memoryview[int] = memory[plan.waiting : plan.waiting + self.seats]
        self.data: list[memoryview[int]] = [
            memory[start : start + self.capacity]
            for start in range(plan.data, plan.size, self.capacity)
        ]
        self._memory = memory
        lock = threading.Lock()
        # Half the cost of a ``with``, and this is done for every batch.
        self._fence_begin, self._fence_end = lock.acquire, lock.release

    @classmethod
    def create(cls, seats: int, capacity: int, *, careful: bool | None = None) -> Self:
        """Make rings of ``capacity`` bytes, or the least that works, for ``seats`` processes.

        ``careful`` is for processors that show stores of others in another order, and comes with
        wake-ups by pipes; by default it is chosen by the machine. Raises `CouldNotStart`.
        """
        if careful is None:
            careful = not orders_stores()
        capacity = -(-max(capacity, LEAST_CAPACITY) // _PAGE) * _PAGE
        segment = Segment.create("tercio-rings", _Plan(seats, capacity).size, sparse=True)
        segment.words[1:5] = memoryview(
            b"".join(n.to_bytes(8, sys.byteorder) for n in (LAYOUT, seats, capacity, careful))
        ).cast("Q")
        segment.words[0] = _MAGIC
        try:
            wakes = Wakes.create(seats, pipes=careful)
        except OSError as error:
            segment.close()
            raise CouldNotStart(
                f"cannot make a wake-up descriptor for each of {seats} seats: {error.strerror} "
                "(see ulimit -n, --max-workers and --attached)"
            ) from error
        return cls(segment, wakes, Parcels.create(seats))

    @classmethod
    def attach(cls, record: Mapping[str, int]) -> Self:
        """Use rings that were inherited. Raises `ValueError` for another layout."""
        segment = Segment.attach(record["rings"])
        names = sorted(name for name in record if name.startswith("wake"))
        wakes = [record[name] for name in names]
        parcels = record.get("parcels")
        seats = segment.words[2]
        return cls(
            segment,
            Wakes.attach(wakes, seats),
            None if parcels is None else Parcels(parcels, seats),
        )

    def to_record(self) -> dict[str, int]:
        """The descriptors by which another process attaches."""
        record = {"rings": self._segment.descriptor}
        if self.parcels is not None:
            record["parcels"] = self.parcels.descriptor
        record |= {f"wake{index:05}": fd for index, fd in enumerate(self.wakes.descriptors)}
        return record

    def fence(self) -> None:
        """Let all earlier stores be seen before any later load is done.

        A processor may otherwise load "is the reader asleep?" while its own new head still waits
        to be seen, and the reader the other way round: then nobody is woken. Taking a lock is the
        one full barrier that Python has.
        """
        self._fence_begin()
        self._fence_end()

    def cursor(self, writer: int, reader: int) -> int:
        """The word in which a reader says how far it is with a writer."""
        return self.cursors + writer * self.seats + reader

    def release(self, seat: int) -> None:
        """Forget a dead reader, and make its ring fit for the next writer.

        What it has published stays and is read. The primary calls it, after the process was reaped.
        """
        self.asleep[seat] = 0
        self.waiting[seat] = 0
        words = self.words
        for writer in range(self.seats):
            words[self.cursor(writer, seat)] = 0
            if self.waiting[writer]:
                self.wakes.wake(writer)  # it may have waited for the dead one
        if self.parcels is not None:
            self.parcels.release(seat)
        head, reserve = words[self.heads + seat], words[self.reserves + seat]
        is_sane = head <= reserve <= head + self.capacity and reserve < POSITION_LIMIT
        if not is_sane or words[self.sequences + seat] >= POSITION_LIMIT:
            # Written by a broken process. Readers see positions go back, and start anew.
            for word in (self.heads, self.reserves, self.sequences):
                words[word + seat] = 0

    def tidy(self) -> None:
        """Give back what dead processes have left. The primary calls it now and then."""
        if self.parcels is not None:
            self.parcels.tidy()

    def close(self) -> None:
        """Give up the mapping and all descriptors."""
        views = (self.head_bytes, self.head_words, self.asleep, self.waiting, *self.data)
        for view in (*views, self._memory):
            view.release()
        self._segment.close()
        self.wakes.close()
        if self.parcels is not None:
            self.parcels.close()


class _Plan:
    """Offsets: in words, but for the bytes at the end."""

    def __init__(self, seats: int, capacity: int) -> None:
        block = -(-seats // _LINE) * _LINE
        self.heads = _HEADER
        self.reserves = self.heads + block
        self.sequences = self.reserves + block
        self.marks = self.sequences + block
        self.cursors = self.marks + seats * MARKS
        self.asleep = (self.cursors + -(-seats * seats // _LINE) * _LINE) * 8
        self.waiting = self.asleep + block * 8
        self.data = -(-(self.waiting + block * 8) // _PAGE) * _PAGE
        self.size = self.data + seats * capacity


def orders_stores() -> bool:
    """Whether this machine shows one process' stores to others in their order, and has eventfd."""
    return platform.machine().lower() in ("x86_64", "amd64", "i686") and hasattr(os, "eventfd")
