"""Start real processes for a test, wait for them by descriptor, and leave none behind."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tercio.system import process
from tercio.system.process import ChildProcess, ExitStatus

PATIENCE = 30.0  # seconds; a slow machine makes a test longer, never red


def children() -> set[int]:
    """The direct children of this process, ended and unreaped ones included."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended while we looked
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(stat[1]) == os.getpid():
                    found.add(int(entry.name))
    return found


def wait_readable(descriptor: int, seconds: float = PATIENCE) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(seconds * 1000), f"nothing happened within {seconds} s"


class Nursery:
    """Spawns children, and ends and reaps those that the test did not."""

    def __init__(self) -> None:
        self._children: list[ChildProcess] = []

    def start(
        self, *argv: str, pass_fds: Sequence[int] = (), inherit_stdin: bool = False
    ) -> ChildProcess:
        child = process.spawn(
            argv,
            env=dict(os.environ),
            cwd=os.getcwd(),
            pass_fds=pass_fds,
            inherit_stdin=inherit_stdin,
        )
        self._children.append(child)
        return child

    def python(self, source: str, *arguments: str, pass_fds: Sequence[int] = ()) -> ChildProcess:
        return self.start(sys.executable, "-c", source, *arguments, pass_fds=pass_fds)

    def end(self) -> None:
        for child in self._children:
            child.kill_group(signal.SIGKILL)
            if child.status is None:
                wait_end(child)
            child.close()


@contextlib.contextmanager
def nursery_that_leaves_nothing() -> Iterator[Nursery]:
    before = children()
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.end()
    assert before == children()


def wait_end(child: ChildProcess) -> ExitStatus:
    wait_readable(child.fileno())
    status = child.reap()
    assert status is not None
    return status


def read_all(descriptor: int) -> str:
    """What a pipe says until its last writer is gone; closes it."""
    chunks = []
    try:
        while chunk := _read(descriptor):
            chunks.append(chunk)
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode()


def _read(descriptor: int) -> bytes:
    wait_readable(descriptor)
    return os.read(descriptor, 65536)


def read_line(descriptor: int) -> str:
    line = b""
    while not line.endswith(b"\n"):
        wait_readable(descriptor)
        byte = os.read(descriptor, 1)
        assert byte, f"the writer ended after {line!r}"
        line += byte
    return line.decode().rstrip("\n")


def output_of(nursery: Nursery, source: str, *arguments: str) -> str:
    """Run Python code to its successful end; what it wrote to the descriptor in ``argv[1]``."""
    reading, writing = os.pipe()
    child = nursery.python(source, str(writing), *arguments, pass_fds=[writing])
    os.close(writing)
    text = read_all(reading)
    assert ExitStatus(0, None) == wait_end(child), text
    return text
