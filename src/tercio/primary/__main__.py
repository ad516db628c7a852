"""``python -m tercio.primary FD``: started by `tercio run`, never by a person."""

import asyncio
import errno
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from tercio import logs
from tercio.errors import ConfigError, CouldNotStart, ExitCode, TercioError
from tercio.primary.journal import Journal
from tercio.primary.launcher import Launcher
from tercio.primary.primary import Primary
from tercio.primary.setup import Launch, Setup, open_setup
from tercio.system import limits, signals
from tercio.system.identity import resolve
from tercio.system.lines import escape

_DESCRIPTORS = 16  # the loop takes 3, the control socket 2, and a worker 8 while it is started
_FLUSH_WAIT = 1.0  # seconds for the last log lines when their reader is slow


def main(argv: list[str]) -> int:
    """Be the primary of the cluster that the launch record behind descriptor ``argv[1]`` asks for.

    Returns the exit code. A fault of the configuration or of the surroundings is one line.
    """
    signals.hold_early()
    signals.let_early_endings_through()
    record = _read_record(int(argv[1]))
    launch, launcher = _launch_of(record), Launcher.of(record.get("launcher"))
    try:
        settings = launch.read_settings()
        config = settings.config
        _enter(os.path.join(launch.cwd, config.chdir))
        streams = logs.configure(
            config,
            "",
            fields={"slot": None, "generation": None},
            owner=resolve(config.user, config.group),
        )
        limits.raise_nofile()
        with ExitStack() as stack:
            try:
                setup = open_setup(launch, settings, stack)
                _check_room()
            except OSError as error:
                raise CouldNotStart(f"the cluster cannot be started: {_reason(error)}") from error
            code = asyncio.run(_run(setup, Journal(lambda: streams.dropped), launcher))
    except TercioError as error:
        if launcher is not None:
            launcher.refuse(error)  # it raises it, where somebody can read it
            return _exit_code(error)
        # Names and paths in it came from outside: no control byte of theirs reaches a terminal.
        text = "\n".join(escape(line) for line in str(error).split("\n"))
        sys.stderr.write(f"tercio: {text}\n")
        return _exit_code(error)
    streams.flush(_FLUSH_WAIT)
    return code


def _exit_code(error: TercioError) -> int:
    is_config = isinstance(error, ConfigError)
    return ExitCode.CONFIGURATION if is_config else ExitCode.COULD_NOT_START


def _enter(directory: str) -> None:
    """Relative paths of options are meant from there, as workers mean them."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise ConfigError(f"--chdir {directory}: {error.strerror}") from error


def _check_room() -> None:
    """Raise `OSError` unless there are descriptors for the loop and a worker.

    asyncio leaves a half-made loop when it runs out of them, which complains when it is collected.
    """
    with ExitStack() as taken:
        for _ in range(_DESCRIPTORS):
            taken.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _reason(error: OSError) -> str:
    hint = " (see ulimit -n)" if error.errno == errno.EMFILE else ""
    return f"{error.strerror}{hint}"


async def _run(setup: Setup, journal: Journal, launcher: Launcher | None) -> int:
    loop = asyncio.get_running_loop()
    primary = Primary(setup, journal, loop)
    if launcher is not None:
        launcher.follow(loop, journal, setup.claim.path, primary.tell)
    return await primary.run()


def _read_record(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb") as file:
        record: dict[str, Any] = json.loads(file.read())
    return record


def _launch_of(record: Mapping[str, Any]) -> Launch:
    return Launch(
        record["cli"],
        record["cwd"],
        tuple(record["python"]),
        has_launcher="launcher" in record,
        is_development=bool(record.get("is_development")),
    )


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    # Interpreter shutdown has nothing left to do for us, and must not add to the time of a stop.
    os._exit(code)
