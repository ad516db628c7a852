"""The command `tercio`: finds the subcommand, and turns errors into one message and a code."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import tercio
from tercio.cli.text import escape, say_error
from tercio.errors import ConfigError, ExitCode, NoCluster, TercioError

# In the order of the help: start, look, change, prepare. name -> (module, first line of its help)
COMMANDS = {
    "run": ("run", "Serve an application on every core."),
    "dev": ("dev", "Serve an application while it is written: each change is loaded."),
    "status": ("status", "Show the cluster and its workers."),
    "health": ("health", "Say whether the cluster lives, serves and has started: exit 0 or 1."),
    "top": ("top", "Watch the cluster live, and change it by keys."),
    "events": ("events", "Show what happened, and what happens."),
    "logs": ("logs", "Show what workers wrote at last."),
    "metrics": ("metrics", "Show the metrics of all workers."),
    "reload": ("control", "Load new code and options without losing a request."),
    "scale": ("control", "Change the number of workers."),
    "recycle": ("control", "Replace workers by fresh ones."),
    "dump": ("dump", "Show what a worker is doing right now."),
    "exec": ("exec", "Run a program that shares state and messages with the workers."),
    "stop": ("control", "Finish running requests, then stop."),
    "check": ("check", "Import the application as a worker would, and look at this machine."),
    "config": ("config", "Show every option with its value and where it came from."),
    "systemd": ("systemd", "Print the unit with which systemd runs an application."),
    "completion": ("complete", "Print the completion script of a shell."),
}


class Commands(click.Group):
    """A group that imports a command's module when the command is used: `run` must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:  # completion asks about half-written words
                return None
            raise click.UsageError(
                f"there is no command {cmd_name!r}{_nearest(cmd_name, COMMANDS)}", ctx
            )
        module = import_module(f"tercio.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit: 0, or an error in one message and no traceback of ours."""
        try:
            code = super().main(args, prog_name or "tercio", complete_var, False, **extra)
        except click.ClickException as error:
            _show_usage(error)
            code = error.exit_code
        except TercioError as error:
            say_error(error)
            code = _exit_code(error)
        except (click.Abort, KeyboardInterrupt):
            code = ExitCode.FORCED_INT
        sys.exit(code if isinstance(code, int) else 0)


def _exit_code(error: TercioError) -> int:
    asked_for = getattr(error, "exit", None)
    if asked_for in (1, 2):
        return int(asked_for)
    usage = isinstance(error, ConfigError | NoCluster)
    return ExitCode.CONFIGURATION if usage else ExitCode.COULD_NOT_START


def _show_usage(error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    # Escaped, since it may quote an argument that holds anything.
    say_error(_message(error))
    if context is not None:
        click.echo(f"Try '{escape(context.command_path)} --help'.", err=True)


def _message(error: click.ClickException) -> str:
    """click's message; for an unknown option the nearest one that our help shows."""
    if not isinstance(error, click.NoSuchOption):
        return error.format_message()
    parameters = error.ctx.command.get_params(error.ctx) if error.ctx is not None else []
    shown = [
        flag
        for parameter in parameters
        if isinstance(parameter, click.Option) and not parameter.hidden
        for flag in getattr(parameter, "shown", parameter.opts)
    ]
    return f"there is no option {error.option_name!r}{_nearest(error.option_name, shown)}"


def _nearest(wrong: str, known: Iterable[str]) -> str:
    import difflib  # here: only a mistake needs it

    found = difflib.get_close_matches(wrong, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
@click.version_option(tercio.__version__, "--version", "-V", message="tercio %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Serve a Python web app on every core, and keep it serving.

    `tercio run MODULE:APP` starts a cluster; the other commands talk to one that runs.
    """
    if ctx.invoked_subcommand is None:
        # Not 0: a script that lost its command should notice.
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.CONFIGURATION)


def main() -> NoReturn:
    """The entry point."""
    cli.main()
    raise AssertionError("unreachable: Commands.main exits")
