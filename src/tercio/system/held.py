"""Several steps as one: calls in C that keep the interpreter's lock from the first to the last.

While a thread holds that lock, no other thread runs Python code, and it changes hands only between
two bytecodes or where C code lets go of it. So what `undisturbed` walks through must be lazy calls
(`map` objects) of functions that are written in C and do not let go: no function in Python, no
generator, no object with a `__del__` or an `__eq__` in Python. Of the C library these are the
functions below: `ctypes.PyDLL` keeps the lock where `os` and `socket` give it away.

For Linux; elsewhere it can be imported.
"""

import ctypes
import gc
import operator
import os
import platform
import select
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final, cast

_libc = ctypes.PyDLL(None, use_errno=True)


def _function(name: str, *arguments: type[Any], result: type[Any] = ctypes.c_int) -> Any:
    """A function of the C library; where there is none, what raises if it is called."""
    try:
        found = _libc[name]
    except AttributeError:
        return getattr
    found.argtypes = list(arguments)
    found.restype = result
    return found


epoll_ctl: Final[Callable[..., int]] = _function(
    "epoll_ctl", ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
)
"""``epoll_ctl(epoll, EPOLL_CTL_DEL, fd, None)``"""

dup3: Final[Callable[..., int]] = _function("dup3", ctypes.c_int, ctypes.c_int, ctypes.c_int)
"""``dup3(old, new, O_CLOEXEC)``; returns ``new``."""

_epoll_wait: Final = _function(
    "epoll_wait", ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int
)
_PACKED: Final = ("x86_64", "i386", "i686")
"""Where the kernel's `struct epoll_event` has no gap before its 64 bits."""

_poll: Final = _function("poll", ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int)
_pread: Final = _function(
    "pread",
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_long,
    result=ctypes.c_ssize_t,
)

EPOLL_CTL_DEL: Final = 2

Step = Iterable[object]
"""Calls that are made when they are asked for their results; a true one stops all that follows."""

# Before 3.12 any allocation may collect garbage, and so run `__del__` methods; since then that is
# done between bytecodes only.
_COLLECTS_ANYWHERE: Final = sys.version_info < (3, 12)


def is_locked() -> bool:
    """Whether this interpreter has the lock on which all here relies."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def differs(call: Callable[..., object], *arguments: object, than: object) -> Iterator[bool]:
    """A step: call, and stop the rest unless the result equals ``than``."""
    return map(operator.ne, map(_call, (partial(call, *arguments),)), (than,))


def is_another(call: Callable[..., object], *arguments: object, than: object) -> Iterator[bool]:
    """A step: call, and stop the rest unless the result is the object ``than``."""
    return map(operator.is_not, map(_call, (partial(call, *arguments),)), (than,))


def undisturbed(*steps: Step) -> bool:
    """Take the steps one after the other, with no other thread in between.

    False: one of them stopped it, and those before it have been taken.
    """
    if not _COLLECTS_ANYWHERE or not gc.isenabled():
        return not any(chain(*steps))
    calls = (gc.disable, partial(any, chain(*steps)), gc.enable)
    return not tuple(map(_call, calls))[1]


_call: Final = cast("Callable[[Any], object]", operator.call)

_POLLED: Final = struct.Struct("ihh")
_GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


def readable(fds: Iterable[int]) -> set[int]:
    """Those of the descriptors that have bytes to read, and whose other end is still there."""
    polled = _polled(fds)
    return {fd for fd, found in polled if found & select.POLLIN and not found & _GONE}


def hung_up(fds: Iterable[int]) -> set[int]:
    """Those of the descriptors whose other end is gone, or says nothing more."""
    return {fd for fd, found in _polled(fds) if found & _GONE}


def _polled(fds: Iterable[int]) -> list[tuple[int, int]]:
    asked = select.POLLIN | getattr(select, "POLLRDHUP", 0)
    table = ctypes.create_string_buffer(b"".join([_POLLED.pack(fd, asked, 0) for fd in fds]))
    count = len(table) // _POLLED.size  # the buffer ends with a zero
    if _poll(table, count, 0) <= 0:
        return []
    polled = _POLLED.iter_unpack(table.raw[: count * _POLLED.size])
    return [(fd, found) for fd, _, found in polled]


_MOST_EVENTS: Final = 512
_EVENT: Final = struct.Struct("=IiI" if platform.machine() in _PACKED else "=IxxxxiI")


def ready(epoll: int) -> set[int] | None:
    """Descriptors in an epoll set that something happened to; None: too many to tell.

    For sets that are level-triggered and keep the descriptor with each entry, as those of event
    loops do: then who waits there sees it all the same.
    """
    table = ctypes.create_string_buffer(_EVENT.size * _MOST_EVENTS)
    count = _epoll_wait(epoll, table, _MOST_EVENTS, 0)
    if not 0 <= count < _MOST_EVENTS:
        return None
    return {fd for _, fd, _ in _EVENT.iter_unpack(table.raw[: count * _EVENT.size])}


class ThreadState:
    """What the kernel says of a thread of this process, by its ``native_id``: an open file.

    Raises `OSError` where there is no such file.
    """

    def __init__(self, native_id: int) -> None:
        self._fd = os.open(f"/proc/self/task/{native_id}/stat", os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = ctypes.create_string_buffer(512)

    def is_asleep(self) -> bool:
        """Whether it waits for something, and not just for its turn on a processor."""
        size = _pread(self._fd, self._buffer, len(self._buffer), 0)
        # The name stands in parentheses and may hold anything.
        return self._buffer.raw[: max(size, 0)].rpartition(b")")[2][1:2] in (b"S", b"D")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
