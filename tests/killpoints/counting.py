"""A process counts in shared memory; the primary folds what the dead have counted."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tercio.dataplane.directory import Writer
from tercio.dataplane.families import Declaration, Distribution
from tercio.dataplane.series import SeriesBoard

_ORDERS: Final = Declaration("counter", "orders", "Orders", ("kind",))
_LATENCY: Final = Declaration("histogram", "latency", bounds=(0.1, 1.0))
_TIMES: Final = 10


class Counting:
    """See `Story`: a process that counts is killed, and folded."""

    def __init__(self, directory: Path) -> None:
        self._board = SeriesBoard.create(2)
        self._pid = 0
        self._counted = 0.0

    def begin(self) -> None:
        self._pid += 1

    def act(self, tell: Callable[[], None]) -> None:
        writer = self._board.writer(1, self._pid)
        orders = [writer.add(_ORDERS, (kind,), 0.0) for kind in ("book", "pen")]
        for number in range(_TIMES):
            place = orders[number % 2]
            assert place is not None
            writer.cells[place] += 1
            tell()

    def look(self, told: int) -> None:
        before = _orders(self._board)
        self._board.fold(1)
        after = _orders(self._board)
        assert before == after, "a count was lost or doubled by its process' death"
        done = _TIMES if told < 0 else told
        assert after - self._counted in (done, min(_TIMES, done + 1)), "not what was counted"
        self._counted = after

    def end(self) -> dict[str, object]:
        self._board.close()
        return {"counted": self._counted}


class Folding:
    """See `Story`: who folds is killed. There is no number then, or the right one."""

    def __init__(self, directory: Path) -> None:
        self._waited = self._read = 0

    def begin(self) -> None:
        self._board = SeriesBoard.create(2)
        for seat in (0, 1):
            writer = self._board.writer(seat, seat + 1)
            _count(writer, _ORDERS, ("book",), 0)
            _count(writer, _LATENCY, (), 1)

    def act(self, tell: Callable[[], None]) -> None:
        self._board.fold(1)
        tell()

    def look(self, told: int) -> None:
        if self._board.is_folding:
            assert told == 0
            self._waited += 1
        else:
            self._read += 1
            assert _orders(self._board) == 14.0
            latency = self._board.read().families["latency"].series[()]
            assert isinstance(latency, Distribution)
            assert latency.count == 14.0
        self._board.close()

    def end(self) -> dict[str, object]:
        return {"died in a fold": self._waited, "read": self._read}


def _count(writer: Writer, declaration: Declaration, values: tuple[str, ...], at: int) -> None:
    place = writer.add(declaration, values, 0.0)
    assert place is not None
    writer.cells[place + at] += 7


def _orders(board: SeriesBoard) -> float:
    family = board.read().families.get("orders")
    values = family.series.values() if family else ()
    return sum(value for value in values if isinstance(value, float))
