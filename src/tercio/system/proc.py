"""Read what `/proc` tells about a process; every answer is None where there is none.

Of a child that was not reaped yet the number is sure to mean that child. Of any other process it
may by now mean another one: good for a message, not for a signal.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMMAND_LENGTH = 80


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One look at a process.

    `letter` is R, S, D, T (stopped), t (traced), Z (ended) or another one of proc(5); `tracer` is
    the pid of a debugger or 0; `cpu_seconds` counts user and system time since the start;
    `descriptors` is None if the kernel does not let us see them.
    """

    letter: str
    tracer: int
    cpu_seconds: float
    threads: int
    descriptors: int | None


def state(pid: int) -> ProcessState | None:
    """Look at a process; None if it is gone or the platform has no ``/proc``."""
    fields = _stat(pid)
    status = read(pid, "status")
    if fields is None or status is None:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ProcessState(
        letter=fields[0].decode(),
        tracer=_tracer(status),
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
        threads=int(fields[17]),
        descriptors=_descriptors(pid),
    )


def parent(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def children(pid: int) -> list[int]:
    """The living children of a process; none where the kernel does not list them."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for task in tasks:  # a child belongs to the thread that started it
        found += [int(child) for child in (read(pid, f"task/{task}/children") or b"").split()]
    return found


def pids() -> Iterator[int]:
    """Every process that we can see, oldest number first."""
    try:
        entries = os.listdir("/proc")
    except OSError:
        return
    yield from sorted(int(entry) for entry in entries if entry.isdecimal())


def describe(pid: int) -> str:
    """``pid 12 (python app.py)``, fit for a log line: control bytes escaped, not too long."""
    command = read(pid, "cmdline") or read(pid, "comm")  # kernel threads and zombies have no line
    if command is None:
        return f"pid {pid}"
    text = command.strip(b"\0\n").replace(b"\0", b" ").decode(errors="backslashreplace")
    printable = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    if len(printable) > _COMMAND_LENGTH:
        printable = printable[: _COMMAND_LENGTH - 1] + "…"
    return f"pid {pid} ({printable})"


def read(pid: int, name: str) -> bytes | None:
    """The first 4 KiB of ``/proc/PID/NAME``; None if the process is gone or not ours to see."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 4096)
    except OSError:  # ESRCH: it ended between open and read
        return None
    finally:
        os.close(fd)


def _stat(pid: int) -> list[bytes] | None:
    """The fields of ``/proc/PID/stat`` from the third one, the state, on."""
    line = read(pid, "stat")
    # The second field is the name in parentheses and may itself hold spaces and parentheses.
    return line.rpartition(b")")[2].split() if line else None


def _tracer(status: bytes) -> int:
    for line in status.splitlines():
        if line.startswith(b"TracerPid:"):
            return int(line.split()[1])
    return 0


def _descriptors(pid: int) -> int | None:
    directory = f"/proc/{pid}/fd"
    try:
        # Linux 6.2 and later say the number as the directory's size; before, it is always 0.
        return os.stat(directory).st_size or len(os.listdir(directory))
    except OSError:
        return None


def start_time(pid: int) -> float | None:
    """When a process began, in Unix seconds; None if that cannot be known."""
    fields = _stat(pid)
    boot = re.search(rb"^btime (\d+)$", _machine_stat(), re.MULTILINE)
    if fields is None or boot is None:
        return None
    return int(boot[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _machine_stat() -> bytes:
    try:
        with open("/proc/stat", "rb") as file:
            return file.read()
    except OSError:
        return b""
