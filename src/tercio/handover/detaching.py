"""Take an idle connection out of a blocked loop, from another thread, between two of its steps.

The loop reads its connections in code of transports, and that never runs while it is inside a step
of a task: so a connection that is at rest in such a moment is read by nobody. To be sure that the
moment lasts, everything is one stretch that keeps the interpreter's lock (`system.held`):

    the loop is inside that task --> the connection is at rest, as it was found --> it is released
    --> out of the loop's epoll --> its descriptor copied --> a dummy in the place of the original

What stops the stretch before the release has changed nothing. When the loop goes on, a batch of
events that names the descriptor meets the dummy, which never has anything to read.
See docs/decisions/011-rescue-under-the-interpreters-lock.md.
"""

import asyncio
import ctypes
import errno
import operator
import os
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from tercio.errors import TercioError
from tercio.handover.moments import Moment
from tercio.system import held
from tercio.system.held import Step, differs


class CannotDetach(TercioError):
    """Connections of this loop, or on this platform, cannot be taken out of it."""


class Releasable(Protocol):
    """What can be in other hands."""

    is_released: bool
    """It is. Set here."""


class Arriving(Releasable, Protocol):
    """A connection on its way to a protocol."""

    @property
    def protocol(self) -> object:
        """None until it has one; then nobody says when it is read."""


class Resting(Releasable, Protocol):
    """A connection, as this module looks at it."""

    asked: int
    """Requests that have begun: as long as it is the same, who rests has rested all the time."""
    is_at_rest: bool
    """Nothing was asked that is not answered. The loop unsets it first of all when it begins to do
    something with the connection that the transport did not tell it to."""
    is_lost: bool


class Asked(Releasable, Protocol):
    """A connection over which one request came that the application has not been called for."""

    asked: int
    is_lost: bool

    @property
    def current(self) -> object:
        """That request."""


class Unbegun(Protocol):
    """Such a request."""

    task: "asyncio.Task[None] | None"


_arrival: Final = operator.attrgetter("protocol", "is_released")
_asked: Final = operator.attrgetter("asked", "current", "is_lost", "is_released")
_steps_taken: Final = operator.attrgetter("cr_running", "cr_suspended")
_state: Final = operator.attrgetter("asked", "is_at_rest", "is_lost", "is_released")


class Detacher:
    """Of one loop. Made in the loop's thread; `detach` is for another one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises `CannotDetach`."""
        if not held.is_locked():
            raise CannotDetach("this Python has no global lock")
        self.epoll = epoll_of(loop)
        """The descriptor of the loop's epoll."""
        self._copy: socket.socket | None = None
        # Never written to, so never readable: the other end only has to stay open.
        self._dummy, self._end = socket.socketpair()
        self._dummy.setblocking(False)

    def detach(
        self, connection: Resting, fd: int, asked: int, moment: Moment
    ) -> socket.socket | None:
        """Take a connection, whose descriptor is ``fd``, out of the loop.

        None: it is not at rest, or no longer as it was with ``asked`` requests, or the moment is
        over; nothing has changed then. Raises `CannotDetach` if the kernel refused, which it does
        only for descriptors that are not what they should be.
        """
        return self._take(
            connection, fd, lambda copy: self.steps(connection, fd, asked, moment, copy)
        )

    def detach_arrival(self, arrival: Arriving, fd: int, moment: Moment) -> socket.socket | None:
        """The same of a connection that was accepted and has no protocol yet."""
        begins = [moment.lasts(), differs(_arrival, arrival, than=(None, False))]
        return self._take(arrival, fd, lambda copy: [*begins, *self._exchange(arrival, fd, copy)])

    def detach_asked(
        self, connection: Asked, fd: int, request: Unbegun, asked: int, moment: Moment
    ) -> socket.socket | None:
        """The same of one that has a request which did not begin: its task will find it released.

        A task that has not begun can only begin in the loop, which is in another one's step.
        """
        begins = [moment.lasts(), *self.unbegun(connection, request, asked)]
        return self._take(
            connection, fd, lambda copy: [*begins, *self._exchange(connection, fd, copy)]
        )

    def unbegun(self, connection: Asked, request: Unbegun, asked: int) -> list[Step]:
        """What `detach_asked` makes sure of, for `held.undisturbed`."""
        assert request.task is not None
        return [
            differs(_asked, connection, than=(asked, request, False, False)),
            differs(_steps_taken, request.task.get_coro(), than=(False, False)),
        ]

    def _take(
        self, connection: Releasable, fd: int, steps: Callable[[int], list[Step]]
    ) -> socket.socket | None:
        kept = self._dummy.dup()  # a number of ours: nothing can fail for want of one later
        self._copy = kept
        ctypes.set_errno(0)
        done = held.undisturbed(*steps(kept.fileno()))
        if not done and not connection.is_released:
            kept.close()
            return None
        error = ctypes.get_errno()
        if not done or error not in (0, errno.ENOENT):
            kept.close()
            raise CannotDetach(f"descriptor {fd}: {os.strerror(error)}")
        self._copy = socket.socket(fileno=kept.detach())  # which asks of what kind it is now
        return self._copy

    def steps(
        self, connection: Resting, fd: int, asked: int, moment: Moment, copy: int
    ) -> list[Step]:
        """What `detach` does, for `held.undisturbed`."""
        return [
            moment.lasts(),
            differs(_state, connection, than=(asked, True, False, False)),
            *self._exchange(connection, fd, copy),
        ]

    def _exchange(self, connection: Releasable, fd: int, copy: int) -> list[Step]:
        """A dummy for the connection."""
        return [
            map(setattr, (connection,), ("is_released",), (True,)),
            # First: an entry of epoll is a file and a number, and without the number for the file
            # nobody could take it out any more. What it returns is looked at later: a connection
            # that has just come may not be in yet.
            map(_never, differs(held.epoll_ctl, self.epoll, _DEL, fd, None, than=0)),
            differs(held.dup3, fd, copy, os.O_CLOEXEC, than=copy),
            differs(held.dup3, self._dummy.fileno(), fd, os.O_CLOEXEC, than=fd),
        ]

    def fds(self) -> list[int]:
        """What it has opened, with the last copy: nothing for a fork by an application."""
        opened = (self._dummy, self._end, *([self._copy] if self._copy is not None else []))
        return [fd for fd in (each.fileno() for each in opened) if fd >= 0]

    def close(self) -> None:
        """Close what it has opened. Descriptors that were detached are the loop's to close."""
        self._dummy.close()
        self._end.close()


_never: Final = frozenset[object]().__contains__
"""False of anything."""

_DEL: Final = held.EPOLL_CTL_DEL


def epoll_of(loop: asyncio.AbstractEventLoop) -> int:
    """The descriptor of a loop's epoll. Raises `CannotDetach` for a loop without one."""
    any_loop = cast("Any", loop)
    if hasattr(loop, "_get_backend_id"):  # uvloop
        return int(any_loop._get_backend_id())
    selector = getattr(loop, "_selector", None)
    if type(selector).__name__ != "EpollSelector":
        raise CannotDetach(f"{type(loop).__module__}.{type(loop).__qualname__} has no epoll")
    return int(any_loop._selector.fileno())
