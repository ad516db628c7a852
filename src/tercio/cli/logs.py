"""`tercio logs`: what workers wrote at last, from memory; also what a dead one wrote."""

import json
import re
import sys
from collections.abc import Mapping

import click

from tercio.cli.client import Client, Disconnected, number, text
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.text import escape

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class Printer:
    """Prints whole lines, each worker's with its name where there are several."""

    def __init__(self, *, named: bool, as_json: bool) -> None:
        self._named = named
        self._as_json = as_json
        self._begun: dict[str, str] = {}  # the lines that workers have not ended

    def __call__(self, event: Mapping[str, object]) -> None:
        worker = text(event, "worker")
        if lost := number(event, "lost"):
            self._begun.pop(worker, None)
            self._say(worker, f"... {lost:.0f} bytes were overwritten before they were read")
        *lines, rest = (self._begun.get(worker, "") + text(event, "text")).split("\n")
        self._begun[worker] = rest
        for line in lines:
            self._say(worker, line)
        sys.stdout.flush()

    def finish(self) -> None:
        """Print what was not ended, too."""
        for worker, rest in self._begun.items():
            if rest:
                self._say(worker, rest)

    def _say(self, worker: str, line: str) -> None:
        if self._as_json:
            click.echo(json.dumps({"worker": worker, "line": line}))
            return
        head = f"{click.style(f'{escape(worker):>6}', dim=True)} | " if self._named else ""
        # What the worker chose for its terminal may not be meant for this one.
        click.echo(head + escape(_COLOUR.sub("", line)).replace("\\t", "\t"))


@click.command()
@click.argument("slot", type=click.IntRange(min=0), required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@cluster_options
def logs(chosen: Chosen, slot: int | None, follow: bool, as_json: bool) -> None:
    """Show what workers wrote at last: 64 KiB each, of one SLOT or of all.

    Log lines, also those that nobody could read, and what Python code printed. The last words of a
    worker that has ended come before those of its successor.
    """
    printer = Printer(named=slot is None, as_json=as_json)
    with Client(chosen.directory) as client:
        try:
            client.ask("logs", {"slot": slot, "follow": follow}, on_event=printer, waits=follow)
        except Disconnected:
            # Following to the end of the cluster is what was asked for.
            if not follow:
                raise
    printer.finish()
