"""`tercio dev` in a real terminal, that of a person: typed into, and read from."""

import os
import re
import select
import signal
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.harness import MARK, PATIENCE
from tests.ports import free_port

INTERRUPT = "\x03"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A pseudo-terminal with a command in its foreground."""

    def __init__(self, directory: Path, mark: str, *options: str, app: str = "app:app") -> None:
        self.port = free_port()
        self.screen = ""
        self.status: int | None = None
        self._seen = 0
        command = [
            sys.executable, "-m", "tercio", "dev", app, "--port", str(self.port),
            "--runtime-dir", str(directory / "run"), *options,
        ]  # fmt: skip
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))},
            "TERCIO_ALLOW_ROOT": "1",  # tests run as whoever calls them
            MARK: mark,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TERM": "dumb",
        }
        self.pid, self._fd = forked()
        if self.pid == 0:
            os.chdir(directory)
            os.execve(command[0], command, environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            if kind is None:
                self.ends()
            else:
                os.waitpid(self.pid, 0)
        os.close(self._fd)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def wait(self, text: str, patience: float = PATIENCE) -> str:
        """Read until ``text`` shows that was not waited for before; return what led to it."""
        deadline = time.monotonic() + patience
        while (at := self.screen.find(text, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not show:\n{self.screen}"
            assert self._read(min(left, 1.0)), f"ended before {text!r} showed:\n{self.screen}"
        before = self.screen[self._seen : at + len(text)]
        self._seen = at + len(text)
        return before

    def ends(self, patience: float = PATIENCE) -> int:
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + patience
        while self.status is None:
            assert time.monotonic() < deadline, f"did not end:\n{self.screen}"
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        while self._read(0.05):  # the watcher has the terminal for an instant longer
            assert time.monotonic() < deadline, f"somebody still has the terminal:\n{self.screen}"
        return self.status

    def get(self, path: str = "/") -> str:
        """One request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    def _read(self, seconds: float) -> bool:
        """Add what is written to the screen; False at the end."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # nobody has the other side any more
            return False
        self.screen += _COLOURS.sub("", data.decode(errors="replace"))
        return bool(data)


def forked() -> tuple[int, int]:
    """As os.fork(): the child has a terminal of its own, the parent its other side."""
    import pty
    import warnings

    with warnings.catch_warnings():
        # Python 3.12 warns of forks in a program with threads; the child only executes.
        warnings.simplefilter("ignore", DeprecationWarning)
        return pty.fork()
