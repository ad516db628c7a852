"""A real cluster for tests and scripts."""

import json
import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tercio.errors import ConfigError, CouldNotStart
from tercio.running.blocking import BlockingRunning
from tercio.running.start import Launch

_OUTPUT: Final = 4000  # characters of its output in an error


class Running:
    """A cluster of real processes."""

    def __init__(self, launched: BlockingRunning, directory: Path, output: Path) -> None:
        self._launched = launched
        self._output = output
        self.directory = directory
        self.url: str = launched.addresses[0]

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The primary."""
        return self._launched.process

    def status(self) -> dict[str, Any]:
        """What `tercio status --json` shows."""
        return self._launched.status()

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """A request over the control socket, such as ``ask("scale", to="4")``; it waits."""
        from tercio.cli.client import Client

        with Client(self._launched.directory) as client:
            return client.ask(do, arguments, waits=True)

    def reload(self) -> None:
        """Replace all workers by fresh ones, as `tercio reload` does."""
        self._launched.reload()

    def pids(self) -> list[int]:
        """The workers that serve, by slot."""
        serving = (w for w in self.status()["workers"] if w["phase"] == "serving")
        return [worker["pid"] for worker in sorted(serving, key=lambda worker: worker["slot"])]

    def kill(self, slot: int) -> None:
        """End a worker with SIGKILL, as a crash would. Another one takes its place."""
        os.kill(self.pids()[slot], signal.SIGKILL)

    def get(self, path: str = "/", timeout: float = 30.0) -> bytes:
        """The body of an answer, over a new connection."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
            body: bytes = answer.read()
            return body

    def get_json(self, path: str = "/", timeout: float = 30.0) -> Any:
        """The same, decoded."""
        return json.loads(self.get(path, timeout))

    def output(self) -> str:
        """What the cluster has written to its log so far."""
        return self._output.read_text(errors="replace")


@contextmanager
def workers(
    app: str,
    n: int = 2,
    *options: str,
    cwd: str | Path = ".",
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Iterator[Running]:
    """Serve ``app`` with ``n`` real workers on a free port, and stop them in the end.

    ``options`` are those of `tercio run`; ``env`` is added to the environment. ``timeout`` is in
    seconds, for the start. Raises `CouldNotStart` with the cluster's output.
    """
    # Not pytest's tmp_path: a Unix socket's path has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="tercio-") as name, ExitStack() as stack:
        directory, output = Path(name), Path(name) / "output"
        output.touch()
        arguments = [
            app, "-w", str(n), "--port", "0",
            "--name", "test", "--runtime-dir", name, *options,
        ]  # fmt: skip
        # Tests run as whoever calls them, and in most containers that is root.
        environ = {"TERCIO_ALLOW_ROOT": "1", **(env or {})}
        launch = Launch(_parsed(arguments), os.fspath(cwd), environ, output, timeout)
        try:
            launched = stack.enter_context(launch)
        except (ConfigError, CouldNotStart) as error:
            said = output.read_text(errors="replace")[-_OUTPUT:]
            raise CouldNotStart(f"{error}\n{said}") from error
        yield Running(launched, directory, output)


def _parsed(arguments: list[str]) -> dict[str, object]:
    """Options as `tercio run` reads them."""
    import click

    from tercio.cli.flags import raw_options
    from tercio.cli.run import command

    try:
        return raw_options(command.make_context("run", arguments).params)
    except click.ClickException as error:
        raise CouldNotStart(error.format_message()) from error
