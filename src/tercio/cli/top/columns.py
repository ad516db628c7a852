"""The table of workers: what stands in each cell, at the width that there is. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from tercio.cli.client import number
from tercio.cli.text import escape
from tercio.cli.top import format
from tercio.cli.top.history import Line, Seen
from tercio.cli.top.sparks import bars
from tercio.units import human_duration

LATE: Final = 0.1
"""Seconds of loop lag that are too many: a person notices them (Nielsen, 1993)."""

_STYLES: Final[Mapping[str, str]] = {
    "serving": "green", "blocked": "bold red", "down": "bold red", "draining": "yellow",
    "starting": "cyan", "parked": "dim",
}  # fmt: skip
_STEADY: Final = 0.1  # of the memory: what changes by less is drawn as flat
_NARROWEST, _WIDEST = 5, 24  # of a line
_PADDING: Final = 2  # around each cell


@dataclass(frozen=True, slots=True)
class Scales:
    """The tops of the lines: the same for all workers, so that they can be compared."""

    rate: float
    p99: float
    lag: float
    memory_low: float
    memory: float


def scales(workers: Sequence[Seen], width: int) -> Scales:
    """What fits all that is shown."""

    def highest(name: str) -> float:
        return max(
            (value for one in workers for value in _shown(one.lines[name], width)), default=0
        )

    memory = [value for one in workers for value in _shown(one.lines["memory"], width)]
    low, high = around(memory)
    # A line of noise must not look like a mountain.
    return Scales(
        max(highest("rate"), 1.0), max(highest("p99"), 0.001), max(highest("lag"), 0.01), low, high
    )


def around(values: Sequence[float]) -> tuple[float, float]:
    """Foot and top for sizes, which seldom come near 0: a change of a tenth can be seen."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    margin = max((high - low) / 4, _STEADY / 2 * high)
    return low - margin, high + margin


def _shown(line: Line, width: int) -> list[float]:
    return [value for value in list(line)[-width:] if value is not None]


def _slot(one: Seen, _: Scales, __: int) -> Text:
    return Text(f"{one.slot}", style="bold")


def _pid(one: Seen, _: Scales, __: int) -> Text:
    return _plain(number(one.status, "pid"))


def _generation(one: Seen, _: Scales, __: int) -> Text:
    return _plain(number(one.status, "generation"))


def _state(one: Seen, _: Scales, __: int) -> Text:
    return Text(escape(one.state), style=_STYLES.get(one.state, ""))


def _rate(one: Seen, scales: Scales, width: int) -> Text:
    return _with_line(format.count(one.pace.rate), 6, one.lines["rate"], width, scales.rate, "cyan")


def _p99(one: Seen, scales: Scales, width: int) -> Text:
    shown = format.seconds(one.pace.p99)
    return _with_line(shown, 7, one.lines["p99"], width, scales.p99, "magenta")


def _lag(one: Seen, scales: Scales, width: int) -> Text:
    lag = one.pace.lag
    style = "bold red" if lag is not None and lag >= LATE else ""
    shown = format.seconds(lag)
    return _with_line(shown, 7, one.lines["lag"], width, scales.lag, "yellow", style)


def _memory(one: Seen, scales: Scales, width: int) -> Text:
    shown = format.size(number(one.status, "memory_bytes"))
    line = one.lines["memory"]
    return _with_line(shown, 8, line, width, scales.memory, "blue", low=scales.memory_low)


def _cpu(one: Seen, _: Scales, __: int) -> Text:
    return Text(format.percent(number(one.status, "cpu_percent")))


def _connections(one: Seen, _: Scales, __: int) -> Text:
    return Text(format.count(number(one.status, "connections")))


def _restarts(one: Seen, _: Scales, __: int) -> Text:
    restarts = number(one.status, "restarts")
    return Text(format.count(restarts), style="yellow" if restarts else "")


def _uptime(one: Seen, _: Scales, __: int) -> Text:
    uptime, wait = number(one.status, "uptime"), number(one.status, "next_start_in")
    if uptime is not None:
        return Text(human_duration(uptime))
    return Text(format.NOTHING if wait is None else f"in {human_duration(wait)}", style="dim")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, the width of its text, and what it says of a worker."""

    title: str
    width: int
    cell: Callable[[Seen, Scales, int], Text]
    rank: int = 0
    """0 is always shown; the others as there is room, the lowest first."""
    has_line: bool = False
    is_right: bool = True

    @property
    def heading(self) -> Text:
        """Its title above the numbers."""
        return Text(self.title.rjust(self.width) if self.is_right else self.title)


_COLUMNS: Final = (
    Column("SLOT", 4, _slot),
    Column("PID", 7, _pid, rank=5),
    Column("GEN", 3, _generation, rank=6),
    Column("STATE", 8, _state, is_right=False),
    Column("REQ/S", 6, _rate, has_line=True),
    Column("P99", 7, _p99, has_line=True),
    Column("LAG", 7, _lag, has_line=True),
    Column("MEMORY", 8, _memory, has_line=True),
    Column("CPU", 5, _cpu, rank=2),
    Column("CONN", 5, _connections, rank=1),
    Column("RESTARTS", 8, _restarts, rank=4),
    Column("UP", 8, _uptime, rank=3),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that fit, and how wide their lines are."""

    columns: tuple[Column, ...]
    line: int

    def row(self, one: Seen, scales: Scales) -> list[Text]:
        """The cells of a worker."""
        found = []
        for column in self.columns:
            cell = column.cell(one, scales, self.line)
            if column.is_right and not column.has_line:
                cell.justify = "right"
            found.append(cell)
        return found


def layout(width: int) -> Layout:
    """What to show in ``width`` columns."""
    lines = [column for column in _COLUMNS if column.has_line]
    shown = [column for column in _COLUMNS if not column.rank]
    left = width - sum(_width(column) for column in shown) - len(lines) * (_NARROWEST + 1)
    for column in sorted(_COLUMNS, key=lambda column: column.rank):
        if column.rank:
            if _width(column) > left:
                break
            left -= _width(column)
            shown.append(column)
    line = min(_NARROWEST + max(left, 0) // len(lines), _WIDEST)
    return Layout(tuple(column for column in _COLUMNS if column in shown), line)


def _width(column: Column) -> int:
    return column.width + _PADDING


def _with_line(
    shown: str,
    room: int,
    line: Line,
    width: int,
    high: float,
    color: str,
    style: str = "",
    low: float = 0.0,
) -> Text:
    cell = Text(f"{shown:>{room}} ", style=style)
    return cell.append(bars(line, width, low=low, high=high), style=color)


def _plain(value: float | None) -> Text:
    return Text(format.NOTHING if value is None else f"{value:.0f}")
