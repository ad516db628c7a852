"""`tercio dev`: one worker in the terminal's foreground, and every change of a file loaded.

It becomes the primary, as `tercio run` does, after it has started a watcher: a child that asks the
primary for a reload, and ends with it.
"""

import importlib.util
import os
import subprocess
import sys
from typing import Any, Final

import click

from tercio import settings
from tercio.cli import launch, run, watcher
from tercio.cli.flags import Flag, OptionsCommand, raw_options, run_parameters
from tercio.config import DEVELOPMENT
from tercio.errors import ConfigError
from tercio.servers import choice

EXAMPLES = (
    ("tercio dev shop.main:app", "http://127.0.0.1:8000; `breakpoint()` works"),
    ("tercio dev shop.main:app --watch src --watch-filter '*.html'", "templates, too"),
    ("tercio dev mysite.wsgi --watch-filter '!tests/*'", "not what lies below tests"),
)

# What differs from `tercio run`, unless a flag says otherwise. A file's settings are production's.
DEFAULTS: Final[dict[str, object]] = {
    "workers": "1",
    # Nobody waits for a proof that the code is good: whoever wrote it is looking.
    "soak": "0",
    "trial": "0",
    "drain_timeout": "3",
    "drain_quiet": "0",
    "stop_delay": "0",
    "stop_timeout": "0",
    "kill_grace": "0.5",
    # A person at a debugger's prompt, or one that has pressed Ctrl-Z, is no fault.
    "rescue": "off",
    "blocked_kill": "0",
    "stopped_kill": "0",
    "ws_ping_interval": "0",
    "reload_timeout": "1d",
    "limit_max_memory": "0",
    "limit_max_requests": "0",
    "limit_max_lifetime": "0",
    "sample_interval": "0.25",
    "ready_path": "",
}


def develop(**values: Any) -> None:
    """Serve APP with one worker, and load it anew whenever one of its files changes.

    The worker has the terminal: `breakpoint()` works, and nothing ends it while a debugger waits.
    A file that cannot be loaded shows its traceback, the code before it serves on, and the next
    change tries again. Ctrl-C ends at once.
    """
    options = {**DEFAULTS, **raw_options(values)}
    cwd = launch.working_directory(os.environ)
    loaded = settings.load(options, os.environ, cwd)
    config = loaded.config
    choice.check(config)
    if importlib.util.find_spec("watchfiles") is None:
        raise ConfigError("`tercio dev` needs watchfiles: pip install 'tercio[dev]'")
    directories = [os.path.join(cwd, each) for each in config.watch or (config.app_dir or cwd,)]
    for given, directory in zip(config.watch, directories, strict=False):
        if not os.path.isdir(directory):
            raise ConfigError(f"--watch {given!r}: expected a directory; there is none")
    files = [os.path.realpath(os.path.join(cwd, file)) for file in loaded.files]
    python = launch.interpreter(sys.orig_argv)
    given_launcher = click.get_current_context().find_object(run.Launcher)
    launcher = given_launcher or run.Launcher(launch.become_primary)
    _start_watcher(watcher.Asked(directories, list(config.watch_filter), files))
    launcher.start(launch.record(options, sys.argv, cwd, python, is_development=True))


def _start_watcher(asked: watcher.Asked) -> None:
    # Not waited for: it ends with the primary that this process becomes, which reaps it.
    started = subprocess.Popen(
        [sys.executable, "-m", "tercio.cli.watcher", asked.to_json()],
        stdin=subprocess.DEVNULL,
    )
    started.returncode = 0


def _parameters() -> list[click.Parameter]:
    """Those of `tercio run`, whose help shows what `dev` chooses."""
    parameters = run_parameters()
    for parameter in parameters:
        if isinstance(parameter, Flag) and parameter.option.field in DEFAULTS:
            kind = parameter.option.kind
            value = kind.parse(DEFAULTS[parameter.option.field])
            parameter.shown_default = (kind.zero if not value else "") or kind.show(value)
    return parameters


command = OptionsCommand(
    "dev",
    callback=develop,
    help=develop.__doc__,
    short_help="Serve an application while it is written.",
    params=_parameters(),
    examples=EXAMPLES,
    also_common=DEVELOPMENT,
)
