"""Decide when granian accepts: a valve between a listener and one of its threads.

granian accepts as long as it runs, and to stop it means to end its connections. So its thread waits
for a listener of ours that nobody connects to but we. Once it does, its descriptor is made to mean
the real one: a connection to ours wakes the thread, and what it accepts are the real connections.
Nothing wakes it while the valve is shut.

For a moment it can mean the listener of another slot, too, whose worker takes nothing out of its
queue: the thread then empties that one.

The descriptor means ours again before granian is told to stop, as it then asks the kernel to
forget the pair of descriptor and socket that it waits for.

Linux only: that a descriptor can be exchanged under `epoll` is not so elsewhere.
"""

import asyncio
import os
import select
import socket
from typing import Any, Final

from granian._granian import ASGIWorker, SocketHolder, WorkerSignal

from tercio.system import queues

_NONSENSE: Final = b"\0\r\n\r\n"
"""What no server answers well, with TLS or without: it ends the connection."""

_VISIT: Final = 0.005
"""Seconds for the thread to empty another queue. Its own can wait that long."""


class Valve:
    """One listener, and the thread of granian that accepts from it."""

    def __init__(self, listener: socket.socket, backlog: int) -> None:
        listener.setblocking(False)
        self.listener = listener
        self._backlog = backlog
        self._loop = asyncio.get_running_loop()
        self._bell = _listen_like(listener)
        self._rung: socket.socket | None = None  # what is in the queue of the bell
        self._arrivals: select.epoll | None = None
        self._fd = -1  # granian's
        self._visit: asyncio.TimerHandle | None = None  # at another listener, until then
        self._signal = WorkerSignal()
        self._stopped: asyncio.Future[None] | None = None

    async def start(self, scheduler: Any, settings: tuple[Any, ...]) -> None:
        """Start the thread. ``settings`` are those of `ASGIWorker`, from its threads on."""
        is_unix = self.listener.family == socket.AF_UNIX
        self._fd = os.dup(self._bell.fileno())
        # Any: what granian says of the types of these two is of an older version.
        holder_of: Any = SocketHolder
        worker_of: Any = ASGIWorker
        holder = holder_of(self._fd, is_unix, self._backlog)
        worker = worker_of(1, (None, holder), None, *settings)
        serve = worker.serve_async_uds if is_unix else worker.serve_async
        self._stopped = self._loop.create_future()
        self._signal.add_cb(self._has_stopped)
        serve(scheduler, self._loop, self._signal)
        await self._until_it_accepts()
        os.dup2(self.listener.fileno(), self._fd, inheritable=False)

    def open(self) -> None:
        """Accept from now on."""
        if self._arrivals is None:
            # Edges, as the connections stay in the queue until the thread has taken them.
            self._arrivals = select.epoll()
            self._arrivals.register(self.listener, select.EPOLLIN | select.EPOLLET)
            self._loop.add_reader(self._arrivals.fileno(), self._arrived)

    def shut(self) -> None:
        """Accept nothing more; what is there goes on."""
        if self._arrivals is not None:
            self._loop.remove_reader(self._arrivals.fileno())
            self._arrivals.close()
            self._arrivals = None
        self._return()

    def visit(self, listener: socket.socket) -> int:
        """Have the thread empty the queue of another listener of this address.

        Returns how many connections wait there; 0 if the thread is to accept nothing now.
        """
        waiting = queues.waiting(listener)
        if not waiting or self._arrivals is None:
            return 0
        self._return()
        os.dup2(listener.fileno(), self._fd, inheritable=False)
        self._visit = self._loop.call_later(_VISIT, self._return)
        self._ring()
        return waiting

    def end(self) -> "asyncio.Future[None] | None":
        """Close what is idle, and be done once nothing is left; None if it never began."""
        self.shut()
        if self._fd >= 0:
            os.dup2(self._bell.fileno(), self._fd, inheritable=False)
            self._fd = -1  # granian closes it
            self._signal.set()
        return self._stopped

    def close(self) -> None:
        """Let go of what is ours; after `end`."""
        self._bell.close()
        if self._rung is not None:
            self._rung.close()

    def fds(self) -> list[int]:
        """All of it but connections."""
        ours = [self.listener.fileno(), self._bell.fileno(), self._fd]
        ours += [each.fileno() for each in (self._rung, self._arrivals) if each is not None]
        return [fd for fd in ours if fd >= 0]

    async def _until_it_accepts(self) -> None:
        """Have a connection of ours refused: then the thread waits for more of them."""
        with socket.socket(self._bell.family) as client:
            client.setblocking(False)
            await self._loop.sock_connect(client, self._bell.getsockname())
            await self._loop.sock_sendall(client, _NONSENSE)
            try:
                while await self._loop.sock_recv(client, 4096):
                    pass
            except ConnectionError:
                pass  # a reset is an end too

    def _arrived(self) -> None:
        if self._arrivals is not None:
            self._arrivals.poll(0)
            self._ring()

    def _return(self) -> None:
        """Accept from the own listener again; who came there meanwhile rang in vain."""
        if self._visit is not None:
            self._visit.cancel()
            self._visit = None
            os.dup2(self.listener.fileno(), self._fd, inheritable=False)
            if self._arrivals is not None:
                self._ring()

    def _ring(self) -> None:
        """Wake the thread.

        The connection stays in the queue: an empty one is not worth waking anybody for, even if
        somebody has just been in it.
        """
        self._empty_the_queue()
        self._rung = socket.socket(self._bell.family)
        self._rung.setblocking(False)
        # It leaves with a reset: else every connection would leave one in TIME-WAIT.
        self._rung.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            self._rung.connect(self._bell.getsockname())
        except BlockingIOError:
            pass  # on its way

    def _empty_the_queue(self) -> None:
        if self._rung is not None:
            self._rung.close()
        while True:
            try:
                taken, _ = self._bell.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            taken.close()

    def _has_stopped(self) -> None:
        """In granian's thread."""
        try:
            self._loop.call_soon_threadsafe(self._note_the_stop)
        except RuntimeError:
            pass  # the loop is gone, and with it whoever waits

    def _note_the_stop(self) -> None:
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)


def _listen_like(listener: socket.socket) -> socket.socket:
    """A listener of the same kind, where nobody comes by chance."""
    bell = socket.socket(listener.family)
    match listener.family:
        case socket.AF_UNIX:
            bell.bind("")  # the kernel gives it a name outside the file system
        case socket.AF_INET6:
            bell.bind(("::1", 0))
        case _:
            bell.bind(("127.0.0.1", 0))
    bell.listen(16)
    bell.setblocking(False)
    return bell
