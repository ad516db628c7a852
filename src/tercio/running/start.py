"""`launch`: check the options as the command line does, start the primary, and see it end."""

import difflib
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tercio import settings
from tercio.cli import launch as handover
from tercio.cli import run
from tercio.config import OPTIONS
from tercio.errors import ConfigError
from tercio.running.child import Child
from tercio.running.running import Running

if TYPE_CHECKING:
    from tercio.running.blocking import BlockingRunning


def launch(
    app: str,
    *,
    workers: int | str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    output: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    **options: object,
) -> "Launch":
    """Run ``app`` (MODULE:ATTRIBUTE) on a cluster for the time of an ``async with``, or a ``with``.

    Inside all workers serve. ``options`` are those of `tercio run` with underscores, such as
    ``port=0`` or ``ready_path="/healthz"``; they rank as flags do, above the environment and the
    configuration file. ``env`` is added to the environment, ``cwd`` is where the application is
    imported from, ``output`` is a file that gets what the cluster writes instead of our standard
    output and error. ``timeout`` bounds the start, in seconds; without it the cluster's own times
    do (``start_timeout``).

    Entering raises `ConfigError` with all that is wrong with the options, and `CouldNotStart` with
    the worker's traceback when one cannot start. Leaving stops the cluster and waits for running
    requests as `tercio stop` does; cancelled meanwhile, it cuts them. In no case a process is left.
    """
    given = {"app": app, "workers": workers, **options}
    return Launch(
        {name: value for name, value in given.items() if value is not None},
        None if cwd is None else os.fsdecode(cwd),
        {} if env is None else dict(env),
        None if output is None else Path(output),
        timeout,
    )


class Launch:
    """What `launch` returns; it starts nothing before it is entered, and is entered once."""

    def __init__(
        self,
        options: Mapping[str, object],
        cwd: str | None,
        env: Mapping[str, str],
        output: Path | None,
        timeout: float | None,
    ) -> None:
        self._options = options
        self._cwd = cwd
        self._env = env
        self._output = output
        self._timeout = timeout
        self._running: Running | None = None
        self._blocking: AbstractContextManager[BlockingRunning] | None = None

    async def __aenter__(self) -> Running:
        if self._running is not None:
            raise RuntimeError("this cluster was launched before: call tercio.launch again")
        running = self._running = Running(self._start())
        try:
            await running.start(self._timeout)
        except BaseException:
            await running.close_at_once()
            raise
        return running

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._running is not None
        await self._running.close()

    def __enter__(self) -> "BlockingRunning":
        from tercio.running.blocking import in_a_thread

        self._blocking = in_a_thread(self)
        return self._blocking.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._blocking is not None
        self._blocking.__exit__(kind, error, traceback)

    def _start(self) -> Child:
        _check_variables(self._env)
        environ = {**os.environ, **self._env}
        if self._cwd is None:
            cwd = handover.working_directory(os.environ)
        else:
            cwd = environ["PWD"] = os.path.abspath(self._cwd)
            if not os.path.isdir(cwd):
                raise ConfigError(f"cwd {self._cwd!r}: expected a directory; there is none")
        options = {name: _plain(value) for name, value in self._options.items()}
        _check_names(options)
        run.check(settings.load(options, environ, cwd).config)
        python = handover.interpreter(sys.orig_argv)
        return Child(handover.record(options, sys.argv, cwd, python), cwd, environ, self._output)


def _plain(value: object) -> object:
    """As JSON would hold it; what it cannot hold is refused where options are checked."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float) else repr(value)


def _check_variables(env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(f"env {name!r}: expected texts, not {value!r}")
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"env {name!r}: no variable can be called so, or hold a NUL")


def _check_names(options: Mapping[str, object]) -> None:
    known = [*OPTIONS, "config"]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"there is no option {name!r}{hint}")
