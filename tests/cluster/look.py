"""Look at processes and sockets from outside, the way an administrator would."""

import http.client
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tercio.core.balance import MARGIN


def sockets(pid: int) -> set[str]:
    """The inodes of all sockets that a process has open."""
    return set(socket_fds(pid).values())


def socket_fds(pid: int) -> dict[int, str]:
    """Descriptor to inode of all sockets that a process has open."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            found[int(entry.name)] = target[8:-1]
    return found


def listening(pid: int) -> set[str]:
    """The inodes of the TCP listeners that a process has open."""
    return sockets(pid) & _tcp("0A")


def connected(pid: int) -> set[str]:
    """The inodes of the TCP connections that a process has open."""
    return sockets(pid) & _tcp("01")


def watched(pid: int) -> set[int]:
    """The descriptors that any epoll of a process waits for."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            found |= {
                int(number) for number in re.findall(r"^tfd:\s+(\d+)", entry.read_text(), re.M)
            }
        except FileNotFoundError:
            continue
    return found


def _tcp(state: str) -> set[str]:
    """The inodes of TCP sockets in a state of the kernel's table."""
    rows = []
    for name in ("tcp", "tcp6"):
        path = Path(f"/proc/net/{name}")
        if path.exists():
            rows += [line.split() for line in path.read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == state}


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def fetch(connection: http.client.HTTPConnection, path: str = "/") -> str:
    """The body of one answer, which must be a good one."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory that anybody may enter; sockets in it have short paths."""
    with tempfile.TemporaryDirectory(prefix="tercio-test-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def accepting(status: dict[str, Any]) -> set[str]:
    """The phases of the workers that accept connections."""
    return {worker["phase"] for worker in status["workers"] if worker["accepts"]}


def are_level(status: dict[str, Any], total: int) -> bool:
    """Whether those that serve have ``total``, so evenly that none gives another one any."""
    counts: list[int] = [w["connections"] for w in status["workers"] if w["phase"] == "serving"]
    average = total / len(counts)
    return sum(counts) == total and all(abs(count - average) <= MARGIN for count in counts)
