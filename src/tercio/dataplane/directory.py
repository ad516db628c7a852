"""The series of one region: one process adds them, others read what is there.

An entry declares a metric, or makes a series of a metric that was declared before. What is read is
not trusted: a process may be killed at any moment, be of another release, or be broken.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tercio.dataplane.families import Declaration
from tercio.dataplane.region import Cells, Entry, Region, Torn


@dataclass(frozen=True, slots=True)
class Series:
    """One series of one process: what it is, and where its values are."""

    declaration: Declaration
    values: tuple[str, ...]
    """Of the labels."""
    first: int

    @property
    def key(self) -> tuple[Declaration, tuple[str, ...]]:
        """What is one series in all processes: the help may differ."""
        return replace(self.declaration, help=""), self.values


class Directory:
    """What was read of one region's entries; they never change until the region is cleared."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.series: list[Series] = []
        self.malformed: int = 0
        self._declared: list[Declaration | None] = []
        self._turn = -1
        self._count = 0
        self._at = 0

    def update(self) -> int:
        """Read what is new; return how many entries are there and cannot be read."""
        turn = self.region.turn
        if turn != self._turn:
            self.series, self._declared = [], []
            self.malformed = self._count = 0
            self._at, self._turn = 0, turn
        count = self.region.count
        while self._count < count:
            try:
                entry, self._at = self.region.read(self._at)
            except Torn:
                return self.malformed + count - self._count
            self._count += 1
            try:
                self._take(entry)
            except (ValueError, IndexError, RecursionError):
                self.malformed += 1
        return self.malformed

    def _take(self, entry: Entry) -> None:
        match json.loads(entry.payload):
            case ["metric", *rest]:
                try:
                    self._declared.append(Declaration.parse(rest))
                except ValueError:
                    self._declared.append(None)  # the numbers of those behind it stay right
                    raise
            case [int(number), *values] if number >= 0:
                declaration = self._declared[number]
                if declaration is None or entry.slots != declaration.slots:
                    raise ValueError("not a series of this metric")
                if len(values) != len(declaration.labels):
                    raise ValueError("not the labels of this metric")
                self.series.append(Series(declaration, tuple(map(str, values)), entry.first))
            case _:
                raise ValueError("neither a metric nor a series")


class Writer:
    """Adds series to a region. One thread at a time."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self._numbers: dict[Declaration, int] = {}

    @property
    def cells(self) -> Cells:
        """Where values are read and stored."""
        return self.region.cells

    def add(self, declaration: Declaration, values: Iterable[str], initial: float) -> int | None:
        """Make a series; return where its first value is. None, and counted, if there is no room.

        ``initial`` is what all of its values begin with.
        """
        if declaration not in self._numbers:
            if self.region.add(declaration.to_payload()) is None:
                self.region.drop()
                return None
            self._numbers[declaration] = len(self._numbers)
        payload = json.dumps([self._numbers[declaration], *values]).encode()
        first = self.region.add(payload, declaration.slots, initial)
        if first is None:
            self.region.drop()
        return first
