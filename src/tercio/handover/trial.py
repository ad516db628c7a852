"""Try on a loop of this very kind and version whether a connection can be taken out of it.

What `detaching` relies on is no public promise of asyncio or uvloop. So it is done once, on a pair
of sockets, before anybody's connection depends on it: a step blocks, another thread takes the
connection, and the loop must neither read from it any more nor stumble over what is left.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Final, cast

from tercio.handover.detaching import CannotDetach, Detacher
from tercio.handover.moments import Moment, Moments
from tercio.http.transports import descriptor_of

_PATIENCE: Final = 5.0  # seconds; it takes one or two milliseconds
_TURNS: Final = 3  # of the loop, in which it would read what it must not read


async def prove(loop: asyncio.AbstractEventLoop, detacher: Detacher, moments: Moments) -> None:
    """Raises `CannotDetach`. Called in the loop, in a task."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    protocol = _Protocol()
    with theirs:
        try:
            async with asyncio.timeout(_PATIENCE):
                transport, _ = await loop.connect_accepted_socket(lambda: protocol, mine)
                try:
                    theirs.send(b"1")
                    await protocol.came.wait()  # so that it is in the loop's epoll
                    await _prove(detacher, moments, protocol, theirs)
                finally:
                    transport.abort()
                    await protocol.lost.wait()
        except CannotDetach:
            raise
        except Exception as error:
            raise CannotDetach(f"a trial failed: {error!r}") from error


async def _prove(
    detacher: Detacher, moments: Moments, protocol: "_Protocol", theirs: socket.socket
) -> None:
    # Not by the loop: the application may have given it a factory of its own.
    over = await asyncio.Task(_moment_of_another(moments))
    if over is None:
        raise CannotDetach("the task that runs cannot be seen")
    theirs.send(b"2")
    if (early := _in_a_thread(detacher, protocol, lambda: over)) is not None:
        early.close()
        raise CannotDetach("a connection can be taken in another step than the one that is meant")
    if (kept := _in_a_thread(detacher, protocol, moments.now)) is None:
        raise CannotDetach("a connection cannot be taken out of a step")
    with kept:
        theirs.send(b"3")
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if protocol.data != b"1" or kept.recv(3, socket.MSG_DONTWAIT) != b"23":
            raise CannotDetach("the loop goes on to read what was taken out of it")


async def _moment_of_another(moments: Moments) -> Moment | None:
    return moments.now()


def _in_a_thread(
    detacher: Detacher, protocol: "_Protocol", moment: Callable[[], Moment | None]
) -> socket.socket | None:
    """Try to take it while this step waits as a blocking call would, for nothing else."""
    taken: list[socket.socket | None] = []
    fd = descriptor_of(protocol.transport)

    def take() -> None:
        found = moment()
        taken.append(None if found is None else detacher.detach(protocol, fd, 0, found))

    thread = threading.Thread(target=take, name="tercio-trial")
    thread.start()
    thread.join()
    if not taken:
        raise CannotDetach("the trial's thread failed")
    return taken[0]


class _Protocol(asyncio.Protocol):
    """A `detaching.Resting` that keeps what comes."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_at_rest = True
        self.is_lost = False
        self.is_released = False
        self.data = b""
        self.came = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.lost.set()
