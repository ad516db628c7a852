"""The three kinds of metrics, as an application holds them.

An increment is one load and one store of 8 bytes that only this process writes. There is no lock
under the interpreter's own: between the load and the store of one statement CPython neither calls
Python code nor lets another thread run. Without that lock there is one of ours.
"""

import math
import os
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, Protocol, Self, TypeAlias

from tercio.dataplane.families import Declaration
from tercio.dataplane.region import Cells

Mode: TypeAlias = Literal["sum", "max", "min", "last", "each"]

DEFAULT_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Seconds of an ordinary answer, as prometheus_client has them."""

_HAS_GIL: Final = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that is not in the fork may hold the old one


os.register_at_fork(after_in_child=_renew_lock)


class Places(Protocol):
    """Gives a series its place in memory: the cells and the first of its own, if there is room."""

    def place(
        self, declaration: Declaration, values: Sequence[str], initial: float
    ) -> tuple[Cells, int] | None: ...


class _Nowhere:
    """Stands where the cells of a metric with labels would be: only its children have any."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration

    def __getitem__(self, index: object) -> float:
        raise self._error()

    def __setitem__(self, index: object, value: object) -> None:
        raise self._error()

    def _error(self) -> ValueError:
        shown = ", ".join(f"{label}=…" for label in self._declaration.labels)
        return ValueError(f"{self._declaration.name} has labels: give them ({shown})")


def nowhere(declaration: Declaration) -> tuple[Cells, int]:
    """A place for a series without room: it counts where nobody looks."""
    return memoryview(bytearray(8 * declaration.slots)).cast("d"), 0


class Metric:
    """What counters, gauges and histograms have in common. Made by `Metrics`."""

    __slots__ = (
        "_by_labels", "_cells", "_children", "_first", "_left_out", "_places", "declaration",
        "has_place",
    )  # fmt: skip

    _cells: Cells
    _first: int

    def __init__(
        self, places: Places, declaration: Declaration, values: Sequence[str] | None = None
    ) -> None:
        self.declaration: Declaration = declaration
        self._places = places
        self._children: dict[tuple[str, ...], Self] = {}
        self._by_labels: dict[tuple[object, ...], Self] = {}
        # One for all label values without room: values without end must not fill this process.
        self._left_out: Self | None = None
        self.has_place: bool = False
        if declaration.labels and values is None:
            self._cells = _Nowhere(declaration)  # type: ignore[assignment]
            self._first = 0
        else:
            self.settle(values or ())

    @property
    def name(self) -> str:
        """The metric's name; a counter's without ``_total``."""
        return self.declaration.name

    def settle(self, values: Sequence[str]) -> None:
        """Take the place in memory that belongs to these label values."""
        initial = math.nan if self.declaration.mode in ("livemin", "livemax") else 0.0
        place = self._places.place(self.declaration, values, initial)
        self.has_place = place is not None
        self._cells, self._first = place or nowhere(self.declaration)

    def move(self) -> None:
        """Take another place: the old memory is not ours any more."""
        if not isinstance(self._cells, _Nowhere):
            self.settle(())
        self._left_out = None
        for values, child in self._children.items():
            child.settle(values)

    def labels(self, *values: object, **named: object) -> Self:
        """The series with these label values, in the order of the declaration or by name.

        Keep the answer where it is used often: counting on it costs half. Each combination of
        values is a series of its own that stays: never take a user's id or a path for one.
        Raises `ValueError` for other labels than the metric has.
        """
        key: tuple[object, ...] = values or tuple(named.items())
        try:
            if (found := self._by_labels.get(key)) is not None and not (values and named):
                return found
        except TypeError:  # what cannot be a key is no text
            return self._child(values, named)
        child = self._child(values, named)
        if not child.has_place or len(self._by_labels) >= _MOST_SPELLINGS:
            return child
        # Texts only: 1, 1.0 and True are one key, and three labels.
        if all(type(value) is str for value in values or named.values()):
            self._by_labels[key] = child
        return child

    def _child(self, values: tuple[object, ...], named: dict[str, object]) -> Self:
        names = self.declaration.labels
        if named:
            if values or len(named) != len(names) or not all(name in named for name in names):
                raise ValueError(f"{self.name} has the labels {list(names)}, not {list(named)}")
            values = tuple(named[name] for name in names)
        if len(values) != len(names) or not names:
            raise ValueError(f"{self.name} has {len(names)} labels, not {len(values)}")
        key = tuple(map(_text, values))
        found = self._children.get(key)
        if found is None:
            with _lock:
                found = self._children.get(key)
                if found is None:
                    child = type(self)(self._places, self.declaration, key)
                    if child.has_place:
                        found = self._children[key] = child
                    else:
                        found = self._left_out = self._left_out or child
        return found


def _text(value: object) -> str:
    """A member of an enumeration of texts is its text, as it is where it is looked up."""
    return str.__str__(value) if isinstance(value, str) else str(value)


_MOST_SPELLINGS: Final = 1000
"""Of labels that are looked up at once; more go the longer way."""


class Counter(Metric):
    """A number that only grows."""

    __slots__ = ()

    def inc(self, n: float = 1, **labels: object) -> None:
        """Add ``n``. Raises `ValueError` if it is negative, infinite or no number."""
        if labels:
            return self.labels(**labels).inc(n)
        if not 0 <= n < math.inf:
            raise ValueError(f"a counter grows: it cannot be raised by {n}")
        if _HAS_GIL:
            self._cells[self._first] += n
        else:
            with _lock:
                self._cells[self._first] += n
        return None


class Gauge(Metric):
    """A number that goes up and down. It ends with its process."""

    __slots__ = ()

    def set(self, value: float, **labels: object) -> None:
        """Set it."""
        if labels:
            return self.labels(**labels).set(value)
        self._cells[self._first] = value
        if self.declaration.mode == "livemostrecent":
            self._cells[self._first + 1] = time.time()
        return None

    def inc(self, n: float = 1, **labels: object) -> None:
        """Add ``n``, which may be negative."""
        if labels:
            return self.labels(**labels).inc(n)
        if _HAS_GIL:
            self._cells[self._first] += n
            value = self._cells[self._first]
        else:
            with _lock:
                self._cells[self._first] += n
                value = self._cells[self._first]
        if value != value:  # NaN: it was never set
            self._cells[self._first] = n
        if self.declaration.mode == "livemostrecent":
            self._cells[self._first + 1] = time.time()
        return None

    def dec(self, n: float = 1, **labels: object) -> None:
        """Subtract ``n``."""
        self.inc(-n, **labels)

    @contextmanager
    def track(self, **labels: object) -> Iterator[None]:
        """Count what is under way: one more inside of the block."""
        gauge = self.labels(**labels) if labels else self
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()


class Histogram(Metric):
    """How many values fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "_sum")

    def __init__(
        self, places: Places, declaration: Declaration, values: Sequence[str] | None = None
    ) -> None:
        self._bounds = declaration.bounds
        self._sum = len(self._bounds) + 1
        super().__init__(places, declaration, values)

    def observe(self, value: float, **labels: object) -> None:
        """Count a value. Raises `ValueError` if it is no number."""
        if labels:
            return self.labels(**labels).observe(value)
        if value != value:
            raise ValueError(f"{self.name} cannot observe NaN: it is in no bucket")
        first = self._first
        bucket = first + bisect_left(self._bounds, value)
        if _HAS_GIL:
            self._cells[bucket] += 1
            self._cells[first + self._sum] += value
        else:
            with _lock:
                self._cells[bucket] += 1
                self._cells[first + self._sum] += value
        return None

    @contextmanager
    def time(
        self, clock: Callable[[], float] = time.perf_counter, **labels: object
    ) -> Iterator[None]:
        """Observe how many seconds the block takes."""
        histogram = self.labels(**labels) if labels else self
        began = clock()
        try:
            yield
        finally:
            histogram.observe(clock() - began)
