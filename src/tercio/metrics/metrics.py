"""The metrics of one process: those it made, and what all processes have counted."""

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from tercio.dataplane.families import Declaration, family_name
from tercio.dataplane.region import Cells
from tercio.dataplane.scoreboard import Scoreboard
from tercio.dataplane.series import SeriesBoard
from tercio.dataplane.shared import Shared
from tercio.metrics.kinds import DEFAULT_BUCKETS, Counter, Gauge, Histogram, Metric, Mode
from tercio.metrics.names import check_buckets, check_labels, check_name
from tercio.metrics.snapshot import Snapshot

_log = logging.getLogger("tercio.metrics")

_MODES: Final = {
    "sum": "livesum",
    "max": "livemax",
    "min": "livemin",
    "last": "livemostrecent",
    "each": "liveall",
}

_MOST_REFUSED: Final = 1 << 14
"""Series without room that are counted; from then on no others are tried."""

_M = TypeVar("_M", bound=Metric)


class Metrics:
    """``cluster.metrics``. Any thread may make metrics and count."""

    def __init__(self, shared: Shared, seat: int) -> None:
        self._begin(shared.series, seat, shared.scoreboard)

    def _begin(self, series: SeriesBoard, seat: int, scoreboard: Scoreboard | None) -> None:
        self._series = series
        self._scoreboard = scoreboard
        self._writer = series.writer(seat, os.getpid())
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._made: dict[str, Metric] = {}
        self._refused: set[int] = set()  # hashes of series: each is tried and counted once
        self._has_warned = False
        self._movers: list[Callable[[], None]] = []
        # Weak: the hook cannot be taken back.
        forked = weakref.WeakMethod(self._forked)
        os.register_at_fork(after_in_child=lambda: (found := forked()) and found())

    # Counting

    def counter(self, name: str, help: str = "", labels: Iterable[str] = ()) -> Counter:
        """A number that only grows, over all workers and their restarts.

        The same name gives the same metric again. A counter is shown as ``NAME_total``. Raises
        `ValueError` for a name that Prometheus refuses, or that stands for another metric.
        """
        return self.own_counter(check_name(name), help, labels)

    def own_counter(self, name: str, help: str = "", labels: Iterable[str] = ()) -> Counter:
        """The same for a name of the library's own."""
        declaration = Declaration(
            "counter", family_name("counter", name), help, check_labels("counter", labels)
        )
        return self._make(Counter, declaration)

    def gauge(
        self, name: str, help: str = "", labels: Iterable[str] = (), *, mode: Mode = "sum"
    ) -> Gauge:
        """A number that goes up and down, and ends with its process.

        ``mode`` says what several workers make together: the "sum", the "max" or "min" of those
        that were set, the "last" one that was set, or "each" by itself with a label ``pid``.
        Raises `ValueError` as `counter` does.
        """
        return self.own_gauge(check_name(name), help, labels, mode=mode)

    def own_gauge(
        self, name: str, help: str = "", labels: Iterable[str] = (), *, mode: Mode = "sum"
    ) -> Gauge:
        """The same for a name of the library's own."""
        if mode not in _MODES:
            raise ValueError(f"a gauge's mode is one of {', '.join(_MODES)}, not {mode!r}")
        declaration = Declaration("gauge", name, help, check_labels("gauge", labels), _MODES[mode])
        return self._make(Gauge, declaration)

    def histogram(
        self,
        name: str,
        help: str = "",
        labels: Iterable[str] = (),
        *,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
    ) -> Histogram:
        """How many values were at most each of ``buckets``, which rise; and their sum.

        Raises `ValueError` as `counter` does.
        """
        return self.own_histogram(check_name(name), help, labels, buckets=buckets)

    def own_histogram(
        self,
        name: str,
        help: str = "",
        labels: Iterable[str] = (),
        *,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
    ) -> Histogram:
        """The same for a name of the library's own."""
        declaration = Declaration(
            "histogram",
            name,
            help,
            check_labels("histogram", labels),
            bounds=check_buckets(buckets),
        )
        return self._make(Histogram, declaration)

    # Reading

    async def totals(self) -> Snapshot:
        """What all workers have counted, the dead included: exact at this moment.

        Raises `TimeoutError` if the primary died while it added up.
        """
        return self.read()

    def read(self) -> Snapshot:
        """`totals` for code that cannot wait, in any thread."""
        return Snapshot.take(self._series, self._scoreboard)

    def text(self) -> str:
        """All metrics in Prometheus' text format, as a scrape wants it (see `CONTENT_TYPE`)."""
        from tercio.metrics.text import text_of  # here: most applications are asked by a sidecar

        return text_of(self.read())

    def to_json(self) -> dict[str, object]:
        """All metrics as what `json.dumps` takes."""
        return self.read().to_json()

    # For what keeps values itself

    def place(
        self, declaration: Declaration, values: Sequence[str], initial: float = 0.0
    ) -> tuple[Cells, int] | None:
        """Where a series keeps its values; None without room."""
        key = hash((declaration.name, declaration.part, *values))
        with self._lock:
            if key in self._refused or len(self._refused) >= _MOST_REFUSED:
                return None
            first = self._writer.add(declaration, values, initial)
            if first is not None:
                return self._writer.cells, first
            self._refused.add(key)
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "no room for another series of %s: it is left out, and counted in "
                "tercio_metrics_series_dropped; do labels have values without end?",
                declaration.name,
            )
        return None

    def on_leave(self, move: Callable[[], None]) -> None:
        """Have ``move`` called when places are to be asked for anew."""
        self._movers.append(move)

    def _forked(self) -> None:
        # A thread that is not here may hold the old ones.
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._series.renew_lock()
        if self._scoreboard is not None:
            self.leave()

    def leave(self) -> None:
        """Count for this process alone from now on: the memory is another's.

        A fork does it by itself.
        """
        self._move_to(SeriesBoard.private(), None, 0)

    def join(self, shared: Shared, seat: int) -> None:
        """Count for another cluster from now on, from nothing. Metrics that were made go along."""
        self._move_to(shared.series, shared.scoreboard, seat)

    def _move_to(self, series: SeriesBoard, scoreboard: Scoreboard | None, seat: int) -> None:
        self._series, self._scoreboard = series, scoreboard
        self._writer = series.writer(seat, os.getpid())
        self._refused.clear()
        for metric in self._made.values():
            metric.move()
        for move in self._movers:
            move()

    def _make(self, kind: type[_M], declaration: Declaration) -> _M:
        with self._making:
            found = self._made.get(declaration.name)
            if found is None:
                found = self._made[declaration.name] = kind(self, declaration)
        if not isinstance(found, kind):
            theirs = type(found).__name__.lower()
            raise ValueError(f"{declaration.name!r} is a {theirs} already")
        for what in ("labels", "mode", "bounds"):
            before = getattr(found.declaration, what)
            if before != getattr(declaration, what):
                raise ValueError(f"{declaration.name!r} has other {what} already: {before}")
        return found


class LocalMetrics(Metrics):
    """The same in a process that belongs to no cluster: it counts for itself."""

    def __init__(self) -> None:
        self._begin(SeriesBoard.private(), 0, None)
