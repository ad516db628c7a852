"""`tercio dump`: the threads and tasks of a worker, which goes on working."""

import json

import click

from tercio.cli.client import Client, text
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.text import say


@click.command()
@click.argument("slot", type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@cluster_options
def dump(chosen: Chosen, slot: int, as_json: bool) -> None:
    """Show what a worker is doing right now: its threads and its tree of tasks.

    The worker is not stopped, not even for a moment that requests would notice.
    """
    with Client(chosen.directory) as client:
        result = client.ask("dump", {"slot": slot})
    if as_json:
        click.echo(json.dumps(result))
    else:
        say(text(result, "text").rstrip("\n") or json.dumps(result, indent=2), lines=True)
