"""The figures as Markdown."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.connections.outcome import Figure, Outcome, Range


def of(
    rounds: Mapping[str, Sequence[Outcome]], not_run: Mapping[str, str], compared: str, base: str
) -> str:
    """A row a server; the last column sets one figure beside that of ``base``, round by round."""
    columns = list(next(iter(rounds.values()))[0].figures) if rounds else []
    against = f"{compared}, beside {base}"
    compares = base in rounds
    titles = ["server", *columns, *([against] if compares else [])]
    lines = [_row(*titles), "| --- " * len(titles) + "|"]
    for name, outcomes in rounds.items():
        cells = [_cell([outcome.figures[column] for outcome in outcomes]) for column in columns]
        if compares:
            cells.append(_ratio(outcomes, rounds[base], compared))
        lines.append(_row(name, *cells))
    lines += [f"\nNot run: {name}: {why}." for name, why in not_run.items()]
    reasons = {
        name: sum((outcome.reasons for outcome in outcomes), Counter[str]())
        for name, outcomes in rounds.items()
    }
    lines += [
        f"\nFailed, {name}: " + ", ".join(f"{count} x {why}" for why, count in each.most_common(5))
        for name, each in reasons.items()
        if each
    ]
    return "\n".join(lines)


def _cell(figures: Sequence[Figure]) -> str:
    """``median (least-most) of N``; of ranges the outermost bounds of all rounds."""
    ranges = [figure.value for figure in figures if isinstance(figure.value, Range)]
    if ranges:
        least, most = min(each.least for each in ranges), max(each.most for each in ranges)
        return f"{least:,.0f}..{most:,.0f}"
    values = [figure.value for figure in figures if isinstance(figure.value, float | int)]
    if not values:
        return "-"
    digits = min(figure.digits for figure in figures)
    shown = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        shown += f" ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
    of = [figure.of for figure in figures if figure.of is not None]
    return f"{shown} of {statistics.median(of):,.0f}" if of else shown


def _ratio(outcomes: Sequence[Outcome], bases: Sequence[Outcome], column: str) -> str:
    ratios = []
    for outcome, base in zip(outcomes, bases, strict=False):
        ours, theirs = outcome.figures[column].value, base.figures[column].value
        if isinstance(ours, float | int) and isinstance(theirs, float | int) and theirs:
            ratios.append(ours / theirs)
    if not ratios:
        return "-"  # nothing can be divided by a zero
    shown = f"{statistics.median(ratios):.2f} x"
    return f"{shown} ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else shown


def _row(*values: str) -> str:
    return f"| {' | '.join(values)} |"
