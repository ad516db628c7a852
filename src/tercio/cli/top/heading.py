"""What stands above the table: the cluster in two lines, and a card for each of its lines. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from tercio.cli.client import Message, number, record, text
from tercio.cli.status import notes
from tercio.cli.text import escape
from tercio.cli.top import format
from tercio.cli.top.columns import LATE, around
from tercio.cli.top.history import History, Line
from tercio.cli.top.sparks import bars
from tercio.units import human_duration

CARD_HEIGHT: Final = 3  # lines of blocks below the number
_BAR: Final = 20

_STATES: Final[Mapping[str, str]] = {
    "serving": "bold green", "degraded": "bold yellow", "reloading": "bold cyan",
    "starting": "bold cyan", "stopping": "bold yellow",
}  # fmt: skip


def summary(status: Message) -> Text:
    """The cluster in a line."""
    ready, target = number(status, "ready") or 0, number(status, "target") or 0
    state = text(status, "state")
    if state == "serving" and ready < target:
        state = "degraded"
    listeners = status.get("listeners")
    facts = [
        f"{ready:.0f} of {target:.0f} workers",
        f"generation {number(status, 'generation') or 0:.0f}",
        f"up {human_duration(number(status, 'uptime') or 0)}",
        " ".join(map(str, listeners)) if isinstance(listeners, list) else "",
        text(status, "app"),
    ]
    line = Text().append(escape(text(status, "name")), style="bold").append("  ")
    line.append(escape(state), style=_STATES.get(state, ""))
    for fact in filter(None, facts):
        line.append(" · ", style="dim").append(escape(fact))
    return line


def progress(status: Message) -> Text | None:
    """How far a reload is, if there is one."""
    reload = record(status, "reload")
    if reload is None:
        return None
    ready, of = number(reload, "ready") or 0, number(reload, "of") or 1
    is_trial = text(reload, "stage") == "trial"
    # The trial is the last fifth: the new workers are all there by then.
    done = round(_BAR * (0.8 if is_trial else 0.8 * ready / of))
    said = "on trial" if is_trial else f"{ready:.0f} of {of:.0f} new workers are ready"
    waits = "; another reload waits" if reload.get("waiting") else ""
    line = Text(f"reload to generation {number(reload, 'generation') or 0:.0f} ", style="cyan")
    line.append("━" * done, style="bold cyan").append("━" * (_BAR - done), style="dim")
    return line.append(f" {said}{waits}")


def troubles(history: History) -> list[str]:
    """What is not as it always is, a line each, escaped: who is blocked comes first."""
    blocked = [
        f"slot {one.slot} is blocked by {escape(one.culprit or 'what could not be found')}"
        for one in history.workers
        if one.culprit is not None
    ]
    # The reload has a line of its own.
    return [*blocked, *notes({**history.status, "reload": None})]


@dataclass(frozen=True, slots=True)
class Card:
    """A number of the whole cluster, with its line."""

    title: str
    value: str
    line: Line
    floor: float
    """What the top of its line is at least, so that noise is no mountain."""
    color: str
    is_bad: bool = False
    is_size: bool = False

    def draw(self, width: int) -> Text:
        """In ``width`` columns and a height of 1 + `CARD_HEIGHT`."""
        known = [value for value in list(self.line)[-width:] if value is not None]
        low, high = around(known) if self.is_size else (0.0, max([self.floor, *known]))
        drawn = Text().append(f"{self.title} ", style="dim")
        drawn.append(self.value, style="bold red" if self.is_bad else "bold").append("\n")
        blocks = bars(self.line, width, CARD_HEIGHT, low=low, high=high)
        return drawn.append(blocks, style=self.color)


def cards(history: History) -> list[Card]:
    """All of them."""
    pace, lines = history.pace, history.lines
    is_late = pace.lag is not None and pace.lag >= LATE
    rate, p99, lag, memory = (lines[name] for name in ("rate", "p99", "lag", "memory"))
    open_, opened = _newest(history.connections, format.count), history.connections
    size = _newest(memory, format.size)
    return [
        Card("req/s", format.count(pace.rate), rate, 1.0, "cyan"),
        Card("p99", format.seconds(pace.p99), p99, 0.001, "magenta"),
        Card("lag", format.seconds(pace.lag), lag, 0.01, "yellow", is_late),
        Card("memory", size, memory, 1.0, "blue", is_size=True),
        Card("conns", open_, opened, 1.0, "green"),
    ]


def _newest(line: Line, show: format.Show) -> str:
    return show(line[-1] if line else None)
