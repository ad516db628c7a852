"""`tercio metrics`: what all workers have counted."""

import json
import time
from typing import Final

import click

from tercio.cli.client import Client
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.text import say
from tercio.errors import ProtocolError
from tercio.metrics import Snapshot, summary

_PERIOD: Final = 1.0  # seconds between two lines of --watch


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--watch", is_flag=True, help="A line of statistics each second, until Ctrl-C.")
@cluster_options
def metrics(chosen: Chosen, as_json: bool, watch: bool) -> None:
    """Show the metrics of all workers, in Prometheus' text format.

    They are the cluster's own (their names begin with tercio_), those that the application made
    with `cluster.metrics`, and those of prometheus_client. Counts are exact, and survive workers
    that die and reloads.

    \b
    tercio metrics | grep requests       what was answered so far
    tercio metrics --watch               requests a second, slow ones, errors
    tercio metrics --json | jq .metrics  for programs
    tercio metrics > FILE.prom           for node_exporter's textfile collector

    An application answers scrapes with `cluster.metrics.text()`, in any worker.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch exclude each other")
    if watch:
        _watch(chosen)
        return
    snapshot = _ask(chosen)
    if as_json:
        click.echo(json.dumps(snapshot.to_json(), indent=2))
        return
    from tercio.metrics.text import text_of  # here: it takes 50 ms

    say(text_of(snapshot).rstrip("\n"), lines=True)


def _watch(chosen: Chosen) -> None:
    before = _ask(chosen)
    while True:
        time.sleep(_PERIOD)
        after = _ask(chosen)
        say(summary.between(before, after, after.at - before.at).text)
        before = after


def _ask(chosen: Chosen) -> Snapshot:
    with Client(chosen.directory) as client:
        result = client.ask("metrics")
    try:
        return Snapshot.from_json(result)
    except ValueError as error:
        raise ProtocolError(f"the cluster's metrics cannot be read: {error}") from error
