"""`tercio reload`, `scale`, `recycle` and `stop`: ask, show progress, say how it ended."""

import json
import re
from collections.abc import Mapping

import click

from tercio.cli.client import Client, Disconnected, RequestFailed, text
from tercio.cli.clusters import Chosen, cluster_options
from tercio.cli.stream import EventPrinter
from tercio.cli.text import say
from tercio.errors import NoCluster

_no_wait = click.option("--no-wait", is_flag=True, help="Only ask; do not wait for it to be done.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Events and result as JSON lines.")


@click.command()
@_no_wait
@_as_json
@cluster_options
def reload(chosen: Chosen, no_wait: bool, as_json: bool) -> None:
    """Load new code and options without losing a request.

    New workers start beside the old ones. If one fails, the old ones go on serving, and this
    command prints why and exits with 1.
    """
    _request(chosen, "reload", {}, wait=not no_wait, as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("number", metavar="N|+N|-N")
@_no_wait
@_as_json
@cluster_options
def scale(chosen: Chosen, number: str, no_wait: bool, as_json: bool) -> None:
    """Change the number of workers: to N, or by +N or -N."""
    if not re.fullmatch("[+-]?[0-9]{1,4}", number, re.ASCII):
        raise click.BadParameter(f"{number!r}: expected a number such as 8, +1 or -1")
    _request(chosen, "scale", {"to": number}, wait=not no_wait, as_json=as_json)


@click.command()
@click.argument("slots", nargs=-1, required=True, metavar="SLOT...|all")
@_no_wait
@_as_json
@cluster_options
def recycle(chosen: Chosen, slots: tuple[str, ...], no_wait: bool, as_json: bool) -> None:
    """Replace the workers of these slots, or all of them, by fresh ones with the same code."""
    wanted: object = "all"
    if slots != ("all",):
        for slot in slots:
            if not re.fullmatch("[0-9]{1,4}", slot, re.ASCII):
                raise click.BadParameter(f"{slot!r}: expected numbers of slots, or all")
        wanted = [int(slot) for slot in slots]
    _request(chosen, "recycle", {"slots": wanted}, wait=not no_wait, as_json=as_json)


@click.command()
@click.option("--now", is_flag=True, help="Cut running requests off.")
@_no_wait
@_as_json
@cluster_options
def stop(chosen: Chosen, now: bool, no_wait: bool, as_json: bool) -> None:
    """Finish running requests, then stop."""
    try:
        _request(chosen, "stop", {"now": now}, wait=not no_wait, as_json=as_json)
    except Disconnected:
        # Gone without a last word (killed meanwhile, say) is stopped as well; silent is not.
        if _still_answers(chosen):
            raise


def _still_answers(chosen: Chosen) -> bool:
    try:
        Client(chosen.directory).close()
    except NoCluster:
        return False
    return True


def _request(
    chosen: Chosen, what: str, arguments: Mapping[str, object], *, wait: bool, as_json: bool
) -> None:
    progress = EventPrinter(as_json=as_json)
    with Client(chosen.directory) as client:
        try:
            result = client.ask(what, {**arguments, "wait": wait}, on_event=progress, waits=wait)
        except RequestFailed as failed:
            if as_json:
                click.echo(json.dumps(failed.reply))
            else:
                progress.show_traceback(text(failed.reply, "traceback"))
            raise
        except KeyboardInterrupt:
            say(f"no longer waiting; the {what} goes on (see `tercio status`)", err=True)
            raise
    if as_json:
        click.echo(json.dumps({"result": result}))
    elif said := text(result, "text"):
        # A primary may end with the event that it ended with.
        if said != progress.last_text:
            say(said)
    elif not wait:
        say(f"{what} asked of {chosen.name}; `tercio events` shows it happen")
