"""`tercio exec`: a program that belongs to a running cluster without being a worker of it."""

import os

import click

from tercio.cli.clusters import Chosen, cluster_options
from tercio.errors import ControlError
from tercio.options import ATTACH_VARIABLE


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@cluster_options
def command(chosen: Chosen, program: tuple[str, ...]) -> None:
    """Run a program attached to the cluster: a Celery worker, a script, a shell.

    In it `from tercio import cluster` publishes to the workers' browsers, reads and writes the
    state they share, and counts into the same metrics. It gets its place on first use, and gives
    it back when it ends; its own children get one each.

    \b
    Example:
      tercio exec -- celery -A tasks worker
      tercio exec -n shop -- python import.py
    """
    environ = {**os.environ, ATTACH_VARIABLE: chosen.directory}
    try:
        os.execvpe(program[0], list(program), environ)
    except OSError as error:
        raise ControlError(f"cannot run {program[0]!r}: {error.strerror}") from error
