"""Print events as they arrive: one line each, a traceback below the line it explains."""

import json
import time
from collections.abc import Callable, Mapping

import click

from tercio.cli.client import number, text
from tercio.cli.text import escape

_COLOURS = {"warning": "yellow", "error": "red", "debug": "bright_black"}


def line(event: Mapping[str, object]) -> str:
    """``12:03:01 warning  worker 3.7 …``; click removes the colours where there is no terminal."""
    moment = number(event, "time")
    clock = time.strftime("%H:%M:%S", time.localtime(moment)) if moment is not None else "--:--:--"
    level = text(event, "level") or "info"
    said = escape(text(event, "text") or text(event, "kind"))
    name = click.style(f"{escape(level):<7}", fg=_COLOURS.get(level))
    return f"{click.style(clock, dim=True)} {name} {said}"


class EventPrinter:
    """Print each event, and remember what was already shown."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._print: Callable[[Mapping[str, object]], None]
        self._print = self._json if as_json else self._lines
        self.tracebacks: set[str] = set()
        self.last_text = ""

    def __call__(self, event: Mapping[str, object]) -> None:
        self.last_text = text(event, "text")
        self._print(event)

    def _json(self, event: Mapping[str, object]) -> None:
        click.echo(json.dumps(event))

    def _lines(self, event: Mapping[str, object]) -> None:
        click.echo(line(event))
        self.show_traceback(text(event, "traceback"))

    def show_traceback(self, traceback: str) -> None:
        """Print a traceback, indented, unless it was printed before."""
        if traceback.strip() and traceback not in self.tracebacks:
            self.tracebacks.add(traceback)
            for part in traceback.rstrip("\n").splitlines():
                click.echo(f"    {escape(part)}")
