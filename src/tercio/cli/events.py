"""`tercio events`: what happened, and what happens."""

import click

from tercio.cli.client import Client, Disconnected
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.stream import EventPrinter


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--follow/--no-follow", default=True, help="Go on with what happens, or end.  [follow]"
)
@click.option(
    "--since", type=click.IntRange(min=0), default=0, help="Only events after this sequence number."
)
@cluster_options
def events(chosen: Chosen, as_json: bool, follow: bool, since: int) -> None:
    """Show what happened, and what happens.

    The same events are the lines of the log.
    """
    with Client(chosen.directory) as client:
        try:
            client.ask(
                "events",
                {"follow": follow, "since": since},
                on_event=EventPrinter(as_json=as_json),
                waits=follow,
            )
        except Disconnected:
            # Following to the end of the cluster is what was asked for.
            if not follow:
                raise
