"""The figures as Markdown."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

R = TypeVar("R", bound="Measured")


class Measured(Protocol):
    """A round of either sort."""

    @property
    def cost(self) -> float: ...
    @property
    def server_cost(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def error(self) -> str: ...

    def wait(self, share: float) -> float: ...


def of_costs(
    rounds: Mapping[str, Sequence[R]], base: str, unit: str, *, waits: bool = False
) -> str:
    """A row for each way: costs, and how often ours go into theirs in the same round."""
    columns = ["", f"CPU µs a {unit}", "of it in a server", "a second"]
    columns += [f"CPU, beside {base}", "p50, µs", "p99, µs"][: 3 if waits else 1]
    lines = header(columns)
    for name, each in rounds.items():
        if errors := [one.error for one in each if one.error]:
            lines.append(row(name, *["void"] * (len(columns) - 2), errors[0]))
            continue
        cells = [
            spread([one.cost for one in each]),
            f"{statistics.median(one.server_cost for one in each):.2f}",
            f"{statistics.median(one.rate for one in each):,.0f}",
            "" if name == base else ratio(rounds.get(base, ()), each, lambda one: one.cost),
        ]
        if waits:
            cells += [spread([one.wait(share) for one in each], digits=0) for share in (0.5, 0.99)]
        lines.append(row(name, *cells))
    return "\n".join(lines)


def ratio(ours: Sequence[R], theirs: Sequence[R], of: Callable[[R], float]) -> str:
    """Theirs divided by ours, round by round; rounds that are void are left out."""
    ratios = [
        of(other) / of(own)
        for own, other in zip(ours, theirs, strict=False)
        if not own.error and not other.error and of(own)
    ]
    return f"{spread(ratios)} x" if ratios else ""


def spread(values: Sequence[float], digits: int | None = None) -> str:
    """``median (least-most)``, with three digits that say something."""
    middle = statistics.median(values)
    if digits is None:
        digits = 2 if middle < 10 else 1 if middle < 100 else 0
    shown = (middle, min(values), max(values))
    return "{:,.{n}f} ({:,.{n}f}-{:,.{n}f})".format(*shown, n=digits)


def header(columns: Sequence[str]) -> list[str]:
    return [row(*columns), "| --- " * len(columns) + "|"]


def row(*values: str) -> str:
    return f"| {' | '.join(values)} |"
