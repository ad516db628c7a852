"""A program that draws on a whole terminal, and what a person sees of it."""

import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.cluster.harness import MARK, PATIENCE
from tests.cluster.terminal import forked

_TIOCSWINSZ = 0x5414 if sys.platform == "linux" else 0x80087467


class Screen:
    """A command in a terminal of ``columns`` by ``lines``."""

    def __init__(
        self, command: list[str], directory: Path, mark: str, columns: int = 120, lines: int = 34
    ) -> None:
        self._picture = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._picture)
        self.written = b""
        self.status: int | None = None
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TERCIO_", "PYTEST"))},
            "TERCIO_ALLOW_ROOT": "1",
            "TERM": "xterm-256color",
            MARK: mark,
        }
        self.pid, self._fd = forked()
        if self.pid == 0:
            os.chdir(directory)
            _resize(0, columns, lines)
            os.execve(sys.executable, [sys.executable, "-m", *command], environ)
        _resize(self._fd, columns, lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self._picture.display)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """As if a person had changed the window."""
        self._picture.resize(lines, columns)
        _resize(self._fd, columns, lines)

    def wait(self, *said: str) -> str:
        """Until all of it stands on the screen at once."""
        return self.until(lambda text: all(part in text for part in said))

    def until(self, is_true: Callable[[str], bool]) -> str:
        """Until what stands on the screen satisfies a test."""
        deadline = time.monotonic() + PATIENCE
        while not is_true(self.text):
            assert time.monotonic() < deadline, f"never showed:\n{self.text}"
            assert self._read(0.2), f"it ended:\n{self.text}"
        return self.text

    def ends(self) -> int:
        """Wait for the end; return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(0.2):
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def _read(self, seconds: float) -> bool:
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # nobody has the other side any more
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)


def _resize(terminal: int, columns: int, lines: int) -> None:
    import fcntl

    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
