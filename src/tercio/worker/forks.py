"""Take everything of the worker out of a process that application code forked inside it.

A fork copies every descriptor, whatever O_CLOEXEC says. Without this a ProcessPoolExecutor keeps
the port taken after the cluster is gone, clients get no end of their connections, and one
``epoll_ctl`` of the child takes sockets out of the parent's event loop.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

from tercio import cluster


def clean_children(owned: Callable[[], Iterable[int]]) -> None:
    """From now on no child keeps the descriptors that ``owned`` names at the moment of the fork."""

    def clean() -> None:
        cluster.leave_to_parent()
        _replace(owned())
        _forget_signals()

    os.register_at_fork(after_in_child=clean)


def loop_fds(loop: asyncio.AbstractEventLoop) -> list[int]:
    """The descriptors inside an event loop, as far as it shows them."""
    if hasattr(loop, "_get_backend_id"):  # uvloop
        return [loop._get_backend_id()]
    owners = (getattr(loop, name, None) for name in ("_selector", "_ssock", "_csock"))
    return [owner.fileno() for owner in owners if owner is not None]


def _replace(fds: Iterable[int]) -> None:
    """Put /dev/null in their place: a number that stayed free would be given to another file.

    Objects in the child that believe to own it would then close that file.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        with suppress(OSError):  # closed meanwhile: nothing is shared then
            os.fstat(fd)
            os.dup2(null, fd, inheritable=False)
    os.close(null)


def _forget_signals() -> None:
    with suppress(ValueError):  # forked from a thread of a sub-interpreter
        # A signal to the child would otherwise wake, and stop, the parent (cpython#94454).
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            if getattr(signal.getsignal(number), "__module__", "").startswith("tercio."):
                signal.signal(number, signal.SIG_DFL)
        if not callable(signal.getsignal(signal.SIGHUP)):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it was the parent's orphan guard
