"""`tercio config`: every option as `tercio run` would use it here, as TOML that can be kept."""

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from tercio import settings
from tercio.cli import launch
from tercio.cli.client import Client, record
from tercio.cli.clusters import choose
from tercio.cli.flags import OptionsCommand, raw_options, run_parameters
from tercio.cli.text import escape, say
from tercio.config import OPTIONS, Config
from tercio.errors import ConfigError, ProtocolError
from tercio.options import Group, Option

EXAMPLES = (
    ("tercio config", "what `tercio run` would use in this directory"),
    ("tercio config shop.main:app -w 4 --show-origin", "with these flags, and who set what"),
    ("tercio config --running --name shop", "what a running cluster uses"),
    ("tercio config > tercio.toml", "a file to begin with"),
    ("tercio config import gunicorn.conf.py > tercio.toml", "made of gunicorn's file, or PM2's"),
)


def show(running: bool, show_origin: bool, as_json: bool, **values: Any) -> None:
    """Show every option with its value, and with --show-origin where it came from.

    Takes the options of `tercio run`, and prints TOML: what is printed can be a tercio.toml.
    """
    options = raw_options(values)
    if running:
        if others := sorted(options.keys() - {"name", "runtime_dir"}):
            raise click.UsageError(
                f"--running shows a cluster as it is; {OPTIONS[others[0]].flag} cannot change it"
                if others[0] in OPTIONS
                else "--running shows a cluster as it is; --config cannot change it"
            )
        chosen = choose(options.get("name"), options.get("runtime_dir"))
        with Client(chosen.directory) as client:
            answer = client.ask("config")
    else:
        cwd = launch.working_directory(os.environ)
        answer = settings.load(options, os.environ, cwd, require_app=False).to_json()
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    warnings = answer.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        say(f"warning: {warning}", err=True)
    try:
        config = Config.from_json(record(answer, "config") or {})
    except ConfigError as error:
        raise ProtocolError(f"the cluster runs another version of Tercio: {error}") from error
    origins = record(answer, "origins") or {}
    for line in as_toml(config, origins, show_origin=show_origin):
        click.echo(escape(line))


def as_toml(
    config: Config, origins: Mapping[str, object], *, show_origin: bool = False
) -> list[str]:
    """The lines of a tercio.toml with every option; defaults are comments."""
    lines: list[str] = []
    group: Group | None = None
    assignments = {
        name: _assignment(config, option, is_default=origins.get(name) == "default")
        for name, option in OPTIONS.items()
    }
    width = min(max(map(len, assignments.values())), 48) if show_origin else 0
    for name, option in OPTIONS.items():
        if option.group is not group:
            lines += [*([""] if group else []), f"## {option.group.title}"]
            group = option.group
        origin = f"  # {origins[name]}" if show_origin and name in origins else ""
        lines.append(f"{assignments[name]:<{width}}{origin}".rstrip())
    return lines


def _assignment(config: Config, option: Option, *, is_default: bool) -> str:
    value = getattr(config, option.field)
    # A secret is shown to exist; a line that is used again must not set it to "***".
    is_comment = is_default or (option.secret and value)
    return f"{'# ' if is_comment else ''}{option.key} = {_toml(value, option)}"


def _toml(value: object, option: Option) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return f"[{', '.join(_quoted(str(one)) for one in value)}]"
        case int() if option.show(value) == str(value):
            return str(value)
    return _quoted(option.show(value))


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL and surrogate pairs, which ensure_ascii would write.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class ConfigCommand(OptionsCommand):
    """`tercio config`, and below it `tercio config import`, which has options of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args[:1] == ["import"]:  # no module has this name
            from tercio.cli import imports

            named = f"{info_name} import"
            return imports.command.make_context(named, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


command = ConfigCommand(
    "config",
    callback=show,
    help=show.__doc__,
    params=[
        *run_parameters(),
        click.Option(["--show-origin"], is_flag=True, help="Say where each value came from."),
        click.Option(["--running"], is_flag=True, help="Ask the running cluster."),
        click.Option(["--json", "as_json"], is_flag=True, help="As JSON."),
    ],
    examples=EXAMPLES,
)
