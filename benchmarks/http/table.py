"""The figures as Markdown."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.http.cpu import Cpu
from benchmarks.http.memory import Memory
from benchmarks.http.servers import plain
from benchmarks.http.work import Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One server in one round."""

    outcome: Outcome
    cpu: Cpu

    @property
    def cost(self) -> float:
        """Microseconds of CPU time a request."""
        return 1e6 * self.cpu.total / max(1, self.outcome.answers)

    @property
    def rate(self) -> float:
        return self.outcome.answers / self.outcome.seconds


def of_cells(rounds: dict[str, list[Cell]]) -> str:
    columns = (
        "server",
        "requests/s",
        "CPU µs a request",
        "of it in the kernel",
        "requests a CPU second, beside uvicorn",
        "requests/s, beside uvicorn",
        "p50, ms",
        "p99, ms",
        "p99, beside uvicorn",
        "errors",
    )
    lines = _header(columns)
    for name, cells in rounds.items():
        if errors := _errors(cells):
            first = next(cell.outcome.first_error for cell in cells if cell.outcome.errors)
            lines.append(_row(name, *["void"] * (len(columns) - 2), f"{errors}: {first}"))
            continue
        bases = rounds.get(_base(name))
        note = " of itself without" if name != plain(name) else ""
        kernel = 100 * statistics.median(c.cpu.system / (c.cpu.total or 1) for c in cells)
        lines.append(
            _row(
                name,
                f"{statistics.median(cell.rate for cell in cells):,.0f}",
                spread([cell.cost for cell in cells], 1),
                f"{kernel:.0f} %",
                _beside(bases, cells, lambda cell: 1 / cell.cost) + note,
                _beside(bases, cells, lambda cell: cell.rate) + note,
                spread([cell.outcome.p50 for cell in cells], 2),
                spread([cell.outcome.p99 for cell in cells], 2),
                _beside(bases, cells, lambda cell: cell.outcome.p99) + note,
                "0",
            )
        )
    return "\n".join(lines)


def summary(scenarios: dict[str, dict[str, list[Cell]]]) -> str:
    """Beside uvicorn, a row for each scenario: requests a CPU second, and p99."""
    servers = list(next(iter(scenarios.values())))
    costs = _header(("requests a CPU second, beside uvicorn", *servers))
    # What else the machine does only ever adds to a p99: the quietest round says most.
    waits = _header(("p99 of the quietest round, beside uvicorn", *servers))
    for name, rounds in scenarios.items():
        bases = rounds.get("uvicorn")
        costs.append(_row(name, *(_of_costs(bases, cells) for cells in rounds.values())))
        waits.append(_row(name, *(_of_waits(bases, cells) for cells in rounds.values())))
    return "\n".join([*costs, "", *waits])


def _of_costs(bases: Sequence[Cell] | None, cells: Sequence[Cell]) -> str:
    return "void" if _errors(cells) else _beside(bases, cells, lambda cell: 1 / cell.cost)


def _of_waits(bases: Sequence[Cell] | None, cells: Sequence[Cell]) -> str:
    if bases is None or _errors(cells):
        return "void" if bases else ""
    least, base = (min(cell.outcome.p99 for cell in each) for each in (cells, bases))
    return f"{least / base:.2f}"


def of_memory(rounds: dict[str, list[Memory]]) -> str:
    lines = _header(("server", "KiB a connection", "beside uvicorn", "server without, MiB", "lost"))
    for name, seen in rounds.items():
        lines.append(
            _row(
                name,
                spread([each.connection / 1024 for each in seen], 2),
                _beside(rounds.get("uvicorn"), seen, lambda each: each.connection),
                spread([each.empty / 2**20 for each in seen], 1),
                str(sum(each.lost for each in seen)),
            )
        )
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """``median (least-most)``"""
    shown = (statistics.median(values), min(values), max(values))
    return "{:.{n}f} ({:.{n}f}-{:.{n}f})".format(*shown, n=digits)


def _errors(cells: Sequence[Cell]) -> int:
    return sum(cell.outcome.errors for cell in cells)


def _base(name: str) -> str:
    return plain(name) if name != plain(name) else "uvicorn"


def _beside(bases: Sequence[T] | None, seen: Sequence[T], of: Callable[[T], float]) -> str:
    if bases is None:
        return ""
    ratios = [of(one) / (of(base) or 1) for one, base in zip(seen, bases, strict=True)]
    return spread(ratios, 2)


def _header(columns: Sequence[str]) -> list[str]:
    return [_row(*columns), "| --- " * len(columns) + "|"]


def _row(*values: str) -> str:
    return f"| {' | '.join(values)} |"
