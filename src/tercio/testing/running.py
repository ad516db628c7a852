"""A real cluster for tests and scripts."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tercio.errors import CouldNotStart

_LOOK: Final = 0.1  # seconds between two looks at whether a starting cluster still lives
_OUTPUT: Final = 4000  # characters of its output in an error


class Running:
    """A cluster of real processes."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path, output: Path) -> None:
        self.process = process
        self.directory = directory
        self._output = output
        self.url: str = str(self.status()["listeners"][0])

    def status(self) -> dict[str, Any]:
        """What `tercio status --json` shows."""
        return self.ask("status")

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """A request over the control socket, such as ``ask("scale", to="4")``; it waits."""
        from tercio.cli.client import Client

        with Client(self.directory / "test") as client:
            return client.ask(do, arguments, waits=True)

    def reload(self) -> None:
        """Replace all workers by fresh ones, as `tercio reload` does."""
        self.ask("reload")

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
    with tempfile.TemporaryDirectory(prefix="tercio-") as name:
        directory, output = Path(name), Path(name) / "output"
        with output.open("wb") as file, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
            news.bind(str(directory / "news"))
            news.settimeout(_LOOK)
            command = [
                sys.executable, "-m", "tercio", "run", app, "-w", str(n), "--port", "0",
                "--name", "test", "--runtime-dir", str(directory), *options,
            ]  # fmt: skip
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {}), "NOTIFY_SOCKET": str(directory / "news")},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_until_ready(process, news, output, timeout)
                yield Running(process, directory, output)
            finally:
                _stop(process)


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", news: socket.socket, output: Path, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if b"READY=1" in news.recv(4096):
                return
        except TimeoutError:
            pass
        if process.poll() is not None:
            raise CouldNotStart(
                f"the cluster ended with {process.returncode}:\n"
                f"{output.read_text(errors='replace')[-_OUTPUT:]}"
            )
        if time.monotonic() > deadline:
            raise CouldNotStart(
                f"the cluster was not ready after {timeout:g} s:\n"
                f"{output.read_text(errors='replace')[-_OUTPUT:]}"
            )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers end with it
        process.wait()
