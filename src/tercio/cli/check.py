"""`tercio check`: import the application as a worker would, and look at this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import click

from tercio import redaction, settings
from tercio.cli import launch, machine
from tercio.cli.client import Message, number, record, text
from tercio.cli.flags import OptionsCommand, raw_options, run_parameters
from tercio.cli.text import escape, say, table
from tercio.settings import Settings

EXAMPLES = (
    ("tercio check shop.main:app", "is it there, and does it import?"),
    ("tercio check", "the application of tercio.toml, with its options"),
)


def check(as_json: bool, **values: Any) -> None:
    """Import the application as a worker would, and show what this machine offers.

    Takes the options of `tercio run`. Nothing is served. Exits with 1 when the application
    cannot be imported, with 2 when an option cannot be used.
    """
    cwd = launch.working_directory(os.environ)
    found = settings.load(raw_options(values), os.environ, cwd)
    result = try_app(found, cwd, os.environ)
    features = list(machine.features())
    if as_json:
        shown = [{"name": f.name, "there": f.there, "told": f.told} for f in features]
        click.echo(json.dumps({"app": result, "machine": shown}, indent=2))
    else:
        for warning in found.warnings:
            say(f"warning: {warning}", err=True)
        _show_app(found.config.app, result)
        rows = [(f.name, "yes" if f.there else "no", f.told) for f in features]
        click.echo()
        for line in table(("THIS MACHINE", "", ""), rows):
            click.echo(line)
    if not result.get("ok"):
        click.get_current_context().exit(1)


def try_app(found: Settings, cwd: str, environ: Mapping[str, str]) -> Message:
    """Import the application in a fresh interpreter; what `trial` reports."""
    config = found.config
    asked = {
        "app": config.app,
        "app_dir": config.app_dir,
        "factory": config.factory,
        "interface": config.interface,
    }
    reader, writer = os.pipe()
    python = launch.interpreter(sys.orig_argv)
    # The report has a pipe of its own: an application may print, and its output is shown as it is.
    process = subprocess.Popen(
        [*python, "-m", "tercio.cli.trial", str(writer), json.dumps(asked)],
        cwd=os.path.join(cwd, found.config.chdir),
        env={**found.environ_additions, **environ},
        pass_fds=(writer,),
    )
    os.close(writer)
    try:
        status = process.wait(config.start_timeout)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    # Read after the end: a report is smaller than a pipe. A process that the import left behind
    # may still hold the other end, so this does not wait for its end.
    os.set_blocking(reader, False)
    try:
        report = os.read(reader, 1 << 16)
    except BlockingIOError:
        report = b""
    os.close(reader)
    if status is None:
        seconds = f"{config.start_timeout:g} s"
        return {"ok": False, "error": f"its import took more than {seconds} (see start-timeout)"}
    try:
        message = json.loads(report)
    except ValueError:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return {"ok": False, "error": f"its import ended the interpreter with {how}"}
    if not isinstance(message, dict):
        return {"ok": False, "error": repr(message)}
    # Its error may hold what the application was told in confidence.
    redaction.learn(config.secrets)
    redaction.learn_environ({**found.environ_additions, **environ})
    return {key: redaction.redacted(value) for key, value in message.items()}


def _show_app(app: str, result: Message) -> None:
    if result.get("ok"):
        seconds = number(result, "seconds") or 0.0
        mark = click.style("ok", fg="green")
        click.echo(f"{mark}  {escape(app)}: {escape(text(result, 'told'))}, {seconds:.2f} s")
        return
    mark = click.style("failed", fg="red")
    click.echo(f"{mark}  {escape(app)}: {escape(text(result, 'error'), lines=True)}")
    if traceback := text(result, "traceback"):
        click.echo()
        say(traceback.rstrip("\n"), lines=True)
    for key, value in (record(result, "hints") or {}).items():
        say(f"{key}: {value}")


command = OptionsCommand(
    "check",
    callback=check,
    help=check.__doc__,
    params=[
        *run_parameters(),
        click.Option(["--json", "as_json"], is_flag=True, help="As JSON."),
    ],
    examples=EXAMPLES,
)
