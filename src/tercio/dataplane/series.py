"""The metrics of all processes: a region a seat, and one that keeps what the dead have counted.

When a process is dead and reaped the primary folds its region into the accumulator, under an epoch
word: odd while it folds, so that a reader that saw an odd or a changed epoch reads again. A count
is in the region or in the accumulator, never in both and never in neither. Gauges end with their
process, unless their mode says otherwise.

What it costs is bounded: a series that finds no room is left out and counted.
"""

import mmap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

from tercio.dataplane.directory import Directory, Series, Writer
from tercio.dataplane.families import Declaration
from tercio.dataplane.merging import Reading, add, sound, together
from tercio.dataplane.region import Region
from tercio.dataplane.segment import Segment

REGION_BYTES: Final = 512 * 1024
"""Of a process: room for some 10,000 counters. Pages that nobody writes cost no memory."""
ACCUMULATOR_BYTES: Final = 2 * 1024 * 1024

_MAGIC: Final = 0x5445_5243_494F_0002
_HEADER_BYTES: Final = 4096
_SEATS: Final = 1
_EPOCH: Final = 2
_FOLD_WAIT: Final = 2.0  # seconds; a fold takes milliseconds, but may be preempted

_KEPT_MODES: Final = frozenset(("sum", "min", "max", "mostrecent"))
"""Gauges that outlive their process; "all" would grow with each restart."""


class SeriesBoard:
    """All regions. The segment begins with a page of header, then comes the accumulator."""

    def __init__(self, memory: memoryview, close: Callable[[], None]) -> None:
        self._memory = memory.cast("B")
        self._words = self._memory[:_HEADER_BYTES].cast("Q")
        if self._words[0] != _MAGIC:
            raise ValueError("no metrics of this layout")
        self.seats: int = self._words[_SEATS]
        self._close = close
        self.descriptor = -1
        end = _HEADER_BYTES + ACCUMULATOR_BYTES
        accumulator = Region(self._memory[_HEADER_BYTES:end])
        regions = [
            Region(self._memory[at : at + REGION_BYTES])
            for at in range(end, end + self.seats * REGION_BYTES, REGION_BYTES)
        ]
        self._accumulator = Directory(accumulator)
        self._directories = [Directory(region) for region in regions]
        self._accumulate = Writer(accumulator)
        self._lock = threading.Lock()  # of what was read of the directories
        self._kept: dict[tuple[Declaration, tuple[str, ...]], int] = {}

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make a board for ``seats`` processes. Raises `CouldNotStart` without memory."""
        segment = Segment.create("tercio-metrics", _size(seats), sparse=True)
        _begin(segment.words, seats)
        return cls._of(segment)

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Map an inherited board. Raises `ValueError` for another layout."""
        return cls._of(Segment.attach(descriptor))

    @classmethod
    def private(cls) -> Self:
        """A board for this process alone."""
        memory = mmap.mmap(-1, _size(1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view = memoryview(memory).cast("Q")
        _begin(view, 1)
        return cls(view, view.release)

    @classmethod
    def _of(cls, segment: Segment) -> Self:
        board = cls(segment.words, segment.close)
        board.descriptor = segment.descriptor
        return board

    def writer(self, seat: int, pid: int) -> Writer:
        """Hold the region of ``seat``. Only the process with the seat does, once."""
        region = self._directories[seat].region
        region.hold(pid)
        return Writer(region)

    def fold(self, seat: int) -> None:
        """Keep what a dead process has counted, and make its region ready for another.

        The primary calls it, alone, and only after it has reaped the process.
        """
        for _ in self.fold_stores(seat):
            pass

    def fold_stores(self, seat: int) -> Iterator[None]:
        """What `fold` does, with a stop after each store."""
        directory = self._directories[seat]
        directory.update()  # and whatever it says of torn entries: they were never seen
        region = directory.region
        self._words[_EPOCH] += 1  # odd: readers wait
        yield
        try:
            for series in directory.series:
                if _is_kept(series.declaration):
                    self._keep(series, region)
                    yield
            self._accumulator.region.drop(region.dropped)
            yield
        finally:
            region.clear()
            self._words[_EPOCH] += 1
        yield

    def read(self) -> Reading:
        """All series, living and dead. Counters are exact and never fall.

        Raises `TimeoutError` if the primary died while it folded.
        """
        deadline = time.monotonic() + _FOLD_WAIT
        while True:
            before = self._words[_EPOCH]
            if before % 2 == 0:
                with self._lock:
                    reading = self._read()
                if self._words[_EPOCH] == before:
                    return reading
            if time.monotonic() > deadline:
                raise TimeoutError("the metrics stayed in a fold: did the primary die in one?")
            time.sleep(0)  # let the one who folds go on

    @property
    def is_folding(self) -> bool:
        """Whether `read` would wait just now."""
        return self._words[_EPOCH] % 2 == 1

    @property
    def kept(self) -> int:
        """How many series of the dead are kept; of the primary, which alone keeps any."""
        return len(self._kept)

    def memory_of(self, seat: int) -> memoryview:
        """All bytes of a region, for who looks into it."""
        begin = _HEADER_BYTES + ACCUMULATOR_BYTES + seat * REGION_BYTES
        return self._memory[begin : begin + REGION_BYTES]

    def renew_lock(self) -> None:
        """In a fork: a thread that is not there may hold the old one."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give up the mapping and the descriptor."""
        for directory in (self._accumulator, *self._directories):
            directory.region.release()
        self._words.release()
        self._memory.release()
        self._close()

    def _keep(self, series: Series, region: Region) -> None:
        declaration, first = series.declaration, series.first
        values = list(region.cells[first : first + declaration.slots])
        cells = self._accumulate.cells
        at = self._kept.get(series.key)
        if at is None:
            at = self._accumulate.add(declaration, series.values, 0.0)
            if at is None:
                return
            self._kept[series.key] = at
        elif declaration.kind == "gauge":
            values = together(declaration.mode, list(cells[at : at + len(values)]), values)
        for index, value in enumerate(values):
            cells[at + index] = (
                value if declaration.kind == "gauge" else cells[at + index] + sound(value)
            )

    def _read(self) -> Reading:
        reading = Reading()
        for directory in (self._accumulator, *self._directories):
            region = directory.region
            if region.count:
                reading.torn += directory.update()
                pid = region.pid
                for series in directory.series:
                    add(reading, series, region.cells, pid)
            reading.dropped += region.dropped
        return reading


def _size(seats: int) -> int:
    return _HEADER_BYTES + ACCUMULATOR_BYTES + seats * REGION_BYTES


def _begin(words: memoryview, seats: int) -> None:
    words[_SEATS] = seats
    words[0] = _MAGIC


def _is_kept(declaration: Declaration) -> bool:
    return declaration.kind != "gauge" or declaration.mode in _KEPT_MODES
