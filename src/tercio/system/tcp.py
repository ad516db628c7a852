"""Listen at one TCP address, alone, with one listener or with one for each slot.

Several listeners of one address are a group (SO_REUSEPORT): each has a queue of its own, and a
program in the kernel chooses between them. Such a group would let anybody of the same user in,
another cluster that is started by mistake too. So the first listener is opened without
SO_REUSEPORT, which fails beside any other, whatever that one has set; only then it is made the
first of a group. bind() and listen() are atomic, so of several who try one wins, and it needs no
lock. (That a listener may join a group later is so since Linux 4.5: `reuseport_add_sock`.)
"""

import errno
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from tercio.system import bpf
from tercio.system.binds import Bind, tcp_bind

LISTEN_TRIES: Final = 40
LISTEN_PAUSE: Final = 0.01  # seconds, at most, between two of them

T = TypeVar("T")


class Address(NamedTuple):
    """A place that a name was resolved to."""

    family: socket.AddressFamily
    host: str
    port: int
    scope: int

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What bind() takes."""
        if self.family == socket.AF_INET6:
            return (self.host.partition("%")[0], self.port, 0, self.scope)
        return (self.host, self.port)

    @property
    def bind(self) -> Bind:
        """How it is written."""
        return tcp_bind(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Slots:
    """``count`` listeners instead of one; ``program`` chooses until it is replaced."""

    count: int
    program: bpf.Program


class Opened(NamedTuple):
    """What listens at an address: all slots' listeners in order, or one and why it is alone."""

    sockets: tuple[socket.socket, ...]
    why_alone: str = ""


def listen(address: Address, *, backlog: int, v6_only: bool, slots: Slots | None) -> Opened:
    """Listen, or raise `OSError`. Where slots cannot be had, one listener is there for all."""
    first = _again(lambda: _listen_alone(address, backlog, v6_only))
    if slots is None or slots.count < 2:
        return Opened((first,))
    if sys.platform != "linux":
        return Opened((first,), "only Linux lets a program choose between listeners")
    place = address._replace(port=first.getsockname()[1])
    try:
        others = _listen_beside(first, place, backlog, v6_only, slots)
    except OSError as error:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)  # alone, as it was
        reason = error.strerror or str(error)
        return Opened((first,), f"the kernel refuses listeners for each slot ({reason})")
    return Opened((first, *others))


def _listen_alone(address: Address, backlog: int, v6_only: bool) -> socket.socket:
    """Without SO_REUSEPORT: bind() fails beside any listener.

    SO_REUSEADDR (needed to start again while old connections linger in TIME_WAIT) lets several
    processes bind one port until one of them listens. Linux makes listen() fail then, but when two
    call it at the same instant for both. So a failed listen() means "again": the next bind() fails
    if somebody has won.
    """
    with ExitStack() as undo:
        sock = undo.enter_context(_bound(address, v6_only, reuse_port=False))
        try:
            sock.listen(backlog)
        except OSError as error:
            raise _Again(error) from error
        undo.pop_all()
        return sock


def _listen_beside(
    first: socket.socket, place: Address, backlog: int, v6_only: bool, slots: Slots
) -> list[socket.socket]:
    with socket.socket(place.family, socket.SOCK_STREAM) as trial:
        # Nobody can have connected to this one if the kernel refuses.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bpf.attach(trial, slots.program)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def listen_too() -> socket.socket:
        with ExitStack() as undo:
            try:
                sock = undo.enter_context(_bound(place, v6_only, reuse_port=True))
                sock.listen(backlog)
            except OSError as error:
                raise _Again(error) from error  # the address is ours: somebody else is failing
            undo.pop_all()
            return sock

    others: list[socket.socket] = []
    try:
        while len(others) < slots.count - 1:
            others.append(_again(listen_too))
            if len(others) == 1:
                bpf.attach(first, slots.program)  # at once: a group of one takes no program
    except BaseException:
        for sock in others:
            sock.close()
        raise
    return others


def _bound(address: Address, v6_only: bool, *, reuse_port: bool) -> socket.socket:
    # Named IPPROTO_TCP: asyncio sets TCP_NODELAY only on sockets that say so.
    sock = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6:
            both = address.host == "::" and not v6_only
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind(address.sockaddr)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class _Again(Exception):
    """Somebody else tried at the same instant, perhaps."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def _again(attempt: Callable[[], T]) -> T:
    for tries_left in reversed(range(LISTEN_TRIES)):
        try:
            return attempt()
        except _Again as again:
            if again.error.errno != errno.EADDRINUSE or not tries_left:
                raise again.error from None
        time.sleep(random.uniform(0, LISTEN_PAUSE))
    raise AssertionError("unreachable: the last try returns or raises")
