"""Tell whether a process that has imported an application can be forked, and what would be shared.

A fork has one thread. What another one holds stays locked in the child for ever, and what it was to
do is never done: so threads of Python are refused by name. Threads of C code are the business of
the libraries that began them; OpenBLAS and OpenMP begin theirs anew when they are asked to compute.
"""

import asyncio
import gc
import os
import socket
import sys
import threading
from collections.abc import Collection, Iterator

from tercio.errors import CannotFork

_OURS = "tercio-"
"""What the names of our threads begin with; they come back in a fork when they are needed."""


def check() -> None:
    """Raises `CannotFork` for threads and event loops that the import left behind."""
    if names := [repr(name) for name in python_threads()]:
        raise CannotFork(
            f"the import started threads, and a fork has none of them: {', '.join(names)}; start "
            "them in the lifespan, or do without --preload"
        )
    if loops := [repr(loop) for loop in open_loops()]:
        raise CannotFork(
            f"the import left an event loop open, which all workers would share: "
            f"{', '.join(loops)}; close it, make it in the lifespan, or do without --preload"
        )


def python_threads() -> list[str]:
    """The names of all threads of Python but the main one, and but ours."""
    main = threading.main_thread()
    return [
        thread.name
        for thread in threading.enumerate()
        if thread is not main and thread.is_alive() and not thread.name.startswith(_OURS)
    ]


def native_threads() -> list[str]:
    """The names of threads that C code has begun."""
    ours = {thread.native_id for thread in threading.enumerate()}
    names = []
    try:
        for task in os.listdir("/proc/self/task"):
            if int(task) not in ours:
                with open(f"/proc/self/task/{task}/comm", errors="replace") as file:
                    names.append(file.read().strip())
    except OSError:  # it has ended meanwhile, or there is no /proc
        pass
    return names


def open_loops() -> Iterator[asyncio.AbstractEventLoop]:
    """Event loops that live and are not closed."""
    for found in gc.get_objects():
        # By its type: `isinstance` asks the object, which may be a lazy one that loads itself.
        if issubclass(type(found), asyncio.AbstractEventLoop) and not found.is_closed():
            yield found


def open_sockets(ours: Collection[int]) -> list[str]:
    """What sockets the import left open: ``descriptor 7 to 10.0.0.1:5432``."""
    notes = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd in ours or not _is_socket(fd):
            continue
        try:
            with socket.socket(fileno=os.dup(fd)) as copy:
                notes.append(f"descriptor {fd}{_ends(copy)}")
        except OSError:  # a kind of socket that Python has no name for
            notes.append(f"descriptor {fd}")
    return notes


def renew_chance() -> None:
    """Let chance differ between forks. `random` does it by itself, NumPy's own state does not."""
    if (numpy := sys.modules.get("numpy.random")) is not None:
        numpy.seed()


def _is_socket(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False


def _ends(sock: socket.socket) -> str:
    try:
        return f" to {_address(sock.getpeername())}"
    except OSError:
        name = _address(sock.getsockname())
        return f" at {name}" if name else ""


def _address(name: object) -> str:
    match name:
        case (str() as host, int() as port, *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case bytes():
            return os.fsdecode(name)
        case _:
            return str(name)
