"""`tercio health`: what a probe asks, as an exit code. It imports little: probes come often."""

import sys

import click

from tercio.cli.client import Client, text
from tercio.cli.clusters import choose
from tercio.cli.text import say
from tercio.errors import ConfigError, ControlError, NoCluster


@click.command()
@click.option("--live", "question", flag_value="live", help="Whether the primary answers.")
@click.option(
    "--ready", "question", flag_value="ready", default=True, help="Whether it serves (default)."
)
@click.option("--startup", "question", flag_value="started", help="Whether it has started.")
@click.option("--name", "-n", metavar="NAME", help="Which cluster, if several run here.")
@click.option(
    "--runtime-dir", metavar="DIR", help="Where the cluster was told to put its control socket."
)
def health(question: str, name: str | None, runtime_dir: str | None) -> None:
    """Exit with 0 if the cluster lives, serves or has started; else say why, and exit with 1.

    It is the twin of /livez, /readyz and /startupz for probes that run a program.
    """
    try:
        with Client(choose(name, runtime_dir).directory) as client:
            found = client.ask("health")
    except (ConfigError, ControlError, NoCluster) as error:
        say(str(error), err=True, lines=True)
        sys.exit(1)  # never another code: a probe knows two
    if question != "live" and found.get(question) is not True:
        say(text(found, "why"), err=True)
        sys.exit(1)
    say("ok")
