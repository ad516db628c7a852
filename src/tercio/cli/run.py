"""`tercio run`: validate everything, then become the primary."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from tercio import settings
from tercio.cli import launch
from tercio.cli.flags import OptionsCommand, raw_options, run_parameters
from tercio.config import Config
from tercio.servers import choice

EXAMPLES = (
    ("tercio run shop.main:app", "one worker a core, on http://127.0.0.1:8000"),
    ("tercio run shop.main:app -w 4 -b 0.0.0.0:80 -b '[::]:80'", "four workers, every interface"),
    ("tercio run shop:create_app --factory --ready-path /healthz", "call a factory, then probe"),
    ("tercio run mysite.wsgi -b unix:/run/mysite.sock", "Django, behind a proxy"),
    ("tercio run shop.main:app --limit-max-memory 300MB", "recycle a worker that leaks"),
)


@dataclass(frozen=True, slots=True)
class Launcher:
    """What happens with a valid launch record; tests give click's context one of their own."""

    start: Callable[[Mapping[str, object]], object]


def serve(**values: Any) -> None:
    """Serve APP on every core, and keep serving it.

    APP is MODULE:ATTRIBUTE, an ASGI or WSGI application; without ATTRIBUTE, `app` and
    `application` are tried.
    """
    options = raw_options(values)
    cwd = launch.working_directory(os.environ)
    # The primary loads them again; here a mistake still has a plain terminal and no process.
    check(settings.load(options, os.environ, cwd).config)
    python = launch.interpreter(sys.orig_argv)
    given = click.get_current_context().find_object(Launcher)
    launcher = given or Launcher(launch.become_primary)
    launcher.start(launch.record(options, sys.argv, cwd, python))


def check(config: Config) -> None:
    """Raises `ConfigError` where an extra is missing that the configuration needs."""
    choice.check(config)
    if config.redis:
        from tercio.engines.redis.url import Address  # its package says which extra it lacks

        Address.parse(config.redis).tls_context()


command = OptionsCommand(
    "run",
    callback=serve,
    help=serve.__doc__,
    short_help="Serve an application on every core.",
    params=run_parameters(),
    examples=EXAMPLES,
)
