"""Turn the options of `tercio.config` into click's, and print them in sections that teach.

Values stay raw text: `tercio.settings` parses them, as it does for files and the environment.
"""

from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from tercio.config import OPTIONS
from tercio.options import Group, Option
from tercio.options.elsewhere import ELSEWHERE, Elsewhere


class Flag(click.Option):
    """A flag of one of our options; spellings of other servers work and are not shown."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.shown = option.flags
        self.shown_default = option.shown_default
        switch = option.kind.is_switch
        spellings = [*option.flags, *option.aliases]
        if switch:
            spellings = [f"{flag}/--no-{flag[2:]}" for flag in spellings]
        super().__init__(
            [*spellings, option.field],
            default=None,
            is_flag=switch,
            multiple=option.is_repeatable,
            type=click.BOOL if switch else click.STRING,
            metavar=option.kind.metavar or None,
            help=option.help,
        )

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        option = self.option
        # Short spellings first, as everywhere.
        shown = ", ".join(sorted(option.flags, key=lambda flag: flag.startswith("--")))
        if option.kind.is_switch:
            shown += f" / --no-{option.flag[2:]}"
        else:
            shown += f" {option.kind.metavar}"
        default = self.shown_default
        return shown, option.help + (f"  [{default}]" if default else "")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        kind = self.option.kind
        if kind.metavar in ("FILE", "DIR", "PATH"):
            return [CompletionItem(incomplete, type="dir" if kind.metavar == "DIR" else "file")]
        return [CompletionItem(word) for word in kind.choices if word.startswith(incomplete)]


class Answer(click.Option):
    """A flag of another server that we do not have: answered with what to use instead."""

    def __init__(self, elsewhere: Elsewhere, spelling: str) -> None:
        self.elsewhere = elsewhere
        super().__init__(
            [spelling, f"elsewhere_{spelling.strip('-').replace('-', '_')}"],
            is_flag=not elsewhere.takes_value,
            hidden=True,
            expose_value=False,
            callback=self._answer,
        )

    def _answer(self, ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            spelling = parameter.opts[0]
            shown = spelling if value is True else f"{spelling} {value!r}"
            raise click.UsageError(f"{shown}: not an option of Tercio; {self.elsewhere.answer}")


def run_parameters() -> list[click.Parameter]:
    """APP and every flag of `tercio run`, in the order of their declaration."""
    parameters: list[click.Parameter] = [click.Argument(["app"], required=False)]
    parameters += [Flag(option) for option in OPTIONS.values() if option.flags]
    parameters.append(
        click.Option(
            ["--config", "-c"],
            metavar="FILE",
            type=click.Path(),
            help="Read options from this file, not from tercio.toml or pyproject.toml.",
        )
    )
    # What has become an option of ours is no longer answered.
    ours = {spelling for one in parameters for spelling in (*one.opts, *one.secondary_opts)}
    parameters += [
        Answer(other, spelling)
        for other in ELSEWHERE
        for spelling in other.flags
        if spelling not in ours
    ]
    return parameters


def raw_options(values: dict[str, Any]) -> dict[str, object]:
    """What was given, for `settings.load` and the launch record."""
    known = {name: value for name, value in values.items() if name in OPTIONS or name == "config"}
    return {name: value for name, value in known.items() if value is not None and value != ()}


class OptionsCommand(click.Command):
    """A command with the options of `tercio run`: `--help` shows the common ones in sections."""

    def __init__(
        self,
        *args: Any,
        examples: Iterable[tuple[str, str]] = (),
        also_common: Group | None = None,
        **more: Any,
    ) -> None:
        """``also_common`` is a group of options that this command's short help shows, too."""
        super().__init__(*args, **more)
        self.examples = tuple(examples)
        self._also_common = also_common
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                help="Show every option and exit.",
                callback=self._help_all,
            )
        )

    def _help_all(self, ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            formatter = ctx.make_formatter()
            self._format(ctx, formatter, every=True)
            click.echo(formatter.getvalue().rstrip("\n"), color=ctx.color)
            ctx.exit()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._format(ctx, formatter, every=False)

    def _format(self, ctx: click.Context, formatter: click.HelpFormatter, *, every: bool) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        sections: dict[Group, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, Flag):
                option = parameter.option
                if every or option.common or option.group is self._also_common:
                    record = parameter.get_help_record(ctx)
                    sections.setdefault(parameter.option.group, []).append(record)
            elif isinstance(parameter, click.Option):
                others += filter(None, [parameter.get_help_record(ctx)])
        for group, records in sections.items():
            with formatter.section(group.title):
                if every:
                    formatter.write_text(group.intro)
                formatter.write_dl(records)
        with formatter.section("Other"):
            formatter.write_dl(others)
        if self.examples:
            with formatter.section("Examples"):
                # Two lines each: side by side they do not fit into 80 columns.
                for command, meaning in self.examples:
                    formatter.write(f"  {command}\n      {meaning}\n")
        formatter.write_paragraph()
        flags = sum(isinstance(parameter, Flag) for parameter in self.get_params(ctx))
        formatter.write_text(
            "Every option is also a variable (TERCIO_STOP_TIMEOUT=30s) and a key in tercio.toml "
            'or [tool.tercio] of pyproject.toml (stop-timeout = "30s"). A flag wins over a '
            "variable, a variable over a file."
            + ("" if every else f" `{ctx.command_path} --help-all` shows all {flags} options.")
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        hidden = {alias for option in OPTIONS.values() for alias in option.aliases}
        hidden |= {f"--no-{alias[2:]}" for alias in hidden}
        return [
            item for item in super().shell_complete(ctx, incomplete) if item.value not in hidden
        ]
