"""Keep the values of prometheus_client's metrics in shared memory, so that they are the cluster's.

The library asks a class for each value, as its own way with several processes does, which writes
files. Ours is put in its place when the application imports the library, and not before: the
library takes 5 MB and some 50 ms, which a worker without it should not pay.
"""

import math
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import ClassVar, Final

from tercio.dataplane.families import Declaration
from tercio.dataplane.region import Cells
from tercio.metrics.kinds import nowhere
from tercio.metrics.metrics import Metrics

_MODULE: Final = "prometheus_client.values"
_ITS_OWN_WAY: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


def adopt(source: Callable[[], Metrics], note: Callable[[str], None] = lambda text: None) -> None:
    """From now on metrics of prometheus_client count in what ``source`` gives.

    It is asked when the library is imported.

    Unless the application chose the library's own way with several processes: then nothing is
    changed, and ``note`` is told. Metrics that were made before stay as they are.
    """

    def replace(module: ModuleType) -> None:
        name = next((name for name in _ITS_OWN_WAY if name in os.environ), None)
        if name is None:
            module.ValueClass = _value_class(source())  # type: ignore[attr-defined]
        else:
            note(
                f"{name} is set: metrics of prometheus_client go to files there, and are not in "
                "`tercio metrics`; without it they would be, and need no files"
            )

    if (module := sys.modules.get(_MODULE)) is not None:
        replace(module)
    else:
        sys.meta_path.insert(0, _Watcher(replace))


def _value_class(metrics: Metrics) -> "type[SharedValue]":
    class Value(SharedValue):
        _metrics = metrics
        _taken = {}
        _alive = weakref.WeakSet()

    def move() -> None:
        Value._taken.clear()
        for value in Value._alive:
            value.settle()

    metrics.on_leave(move)
    return Value


class SharedValue:
    """One number of a metric, as prometheus_client wants it: `inc`, `set`, `get`."""

    _multiprocess = False  # there is nothing to collect from files
    _metrics: ClassVar[Metrics]
    _taken: ClassVar[dict[tuple[Declaration, tuple[str, ...]], tuple[Cells, int]]]
    _alive: ClassVar["weakref.WeakSet[SharedValue]"]

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **others: object,
    ) -> None:
        part = name.removeprefix(metric_name).lstrip("_") if typ != "counter" else ""
        self._declaration = Declaration(
            typ, metric_name, help_text, tuple(labelnames), multiprocess_mode, part=part
        )
        self._values = tuple(map(str, labelvalues))
        self._exemplar: object = None
        self.settle()
        self._alive.add(self)

    def settle(self) -> None:
        """Take a place; a metric that was removed and made again goes on where it was."""
        key = (self._declaration, self._values)
        place = self._taken.get(key)
        if place is None:
            place = self._metrics.place(self._declaration, self._values)
            if place is not None:
                self._taken[key] = place
        self._cells, self._first = place or nowhere(self._declaration)

    def inc(self, amount: float) -> None:
        """Add. See `kinds` for why this needs no lock under the interpreter's."""
        self._cells[self._first] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Set, at ``timestamp`` in Unix seconds for the mode "mostrecent"."""
        self._cells[self._first] = value
        if self._declaration.slots == 2:
            self._cells[self._first + 1] = timestamp or 0.0

    def get(self) -> float:
        """What this process has counted."""
        value = self._cells[self._first]
        return 0.0 if math.isnan(value) else value

    def set_exemplar(self, exemplar: object) -> None:
        """Kept here: the text format has no place for it."""
        self._exemplar = exemplar

    def get_exemplar(self) -> object:
        """The last one."""
        return self._exemplar


class _Watcher(MetaPathFinder):
    """Calls a function with the library's module when that was imported, once."""

    def __init__(self, replace: Callable[[ModuleType], None]) -> None:
        self._replace = replace

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            self._replace(module)

        # On the loader itself, which stays what it is to everybody who asks.
        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec
