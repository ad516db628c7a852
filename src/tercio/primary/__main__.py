"""``python -m tercio.primary FD``: started by `tercio run`, never by a person."""

import asyncio
import errno
import json
import os
import sys
from contextlib import ExitStack

from tercio import logs
from tercio.errors import ConfigError, CouldNotStart, ExitCode, TercioError
from tercio.primary.journal import Journal
from tercio.primary.primary import Primary
from tercio.primary.setup import Launch, Setup, open_setup
from tercio.system import limits, signals
from tercio.system.lines import escape

_DESCRIPTORS = 16  # the loop takes 3, the control socket 2, and a worker 8 while it is started
_FLUSH_WAIT = 1.0  # seconds for the last log lines when their reader is slow


def main(argv: list[str]) -> int:
    """Be the primary of the cluster that the launch record behind descriptor ``argv[1]`` asks for.

    Returns the exit code. A fault of the configuration or of the surroundings is one line.
    """
    signals.hold_early()
    signals.let_early_endings_through()
    launch = _read_launch(int(argv[1]))
    try:
        settings = launch.read_settings()
        config = settings.config
        streams = logs.configure(config.log_level, config.access_log, config.use_colors, "")
        limits.raise_nofile()
        with ExitStack() as stack:
            try:
                setup = open_setup(launch, settings, stack)
                _check_room()
            except OSError as error:
                raise CouldNotStart(f"the cluster cannot be started: {_reason(error)}") from error
            code = asyncio.run(_run(setup, Journal(lambda: streams.dropped)))
    except TercioError as error:
        # Names and paths in it came from outside: no control byte of theirs reaches a terminal.
        text = "\n".join(escape(line) for line in str(error).split("\n"))
        sys.stderr.write(f"tercio: {text}\n")
        is_config = isinstance(error, ConfigError)
        return ExitCode.CONFIGURATION if is_config else ExitCode.COULD_NOT_START
    streams.flush(_FLUSH_WAIT)
    return code


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


async def _run(setup: Setup, journal: Journal) -> int:
    return await Primary(setup, journal, asyncio.get_running_loop()).run()


def _read_launch(descriptor: int) -> Launch:
    with open(descriptor, "rb") as file:
        record = json.loads(file.read())
    return Launch(record["cli"], record["cwd"], tuple(record["python"]))


if __name__ == "__main__":
    code = main(sys.argv)
    sys.stdout.flush()
    # Interpreter shutdown has nothing left to do for us, and must not add to the time of a stop.
    os._exit(code)
