"""`tercio top`: the cluster live in the terminal, with keys to change it."""

import sys

import click

from tercio.cli.clusters import Chosen, cluster_options
from tercio.errors import ConfigError


@click.command("top")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 60.0),
    default=1.0,
    metavar="SECONDS",
    help="Between two looks, 0.2 to 60.  [1]",
)
@cluster_options
def command(chosen: Chosen, interval: float) -> None:
    """Watch the cluster live, and change it by keys.

    Each worker with its requests a second, latency, loop lag and memory of the last minutes;
    below them what happens. The cluster costs nothing more when nobody watches, and one `status`
    a look when somebody does.

    \b
    r  reload            x  replace the worker    X  replace all, one after the other
    +  a worker more     -  a worker fewer        s  set the number of workers
    d  the worker's threads and tasks             q  leave; the cluster goes on
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "top needs a terminal; `tercio status`, `tercio events` and `tercio metrics --watch` "
            "write lines"
        )
    try:
        from tercio.cli.top.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise ConfigError("top needs textual: pip install 'tercio[tui]'") from error
    Top(chosen.name, chosen.directory, interval).run()
