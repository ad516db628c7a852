"""What a program of `--interface callable` gets: its place, its listeners, and when to work.

    async def main(worker: Worker) -> None:
        await connect_to_the_queue()
        worker.ready()
        while await worker.takes_work():
            await carry_out_one_job()

``main`` runs until it returns, which it should do soon after `draining` is set. A plain function
gets a `ThreadWorker` and runs in a thread of its own, so that the worker goes on to be watched.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from tercio.http.hooks import Hooks

Connected: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What serves one connection."""


class _Place:
    """What both kinds have."""

    def __init__(
        self,
        slot: int,
        incarnation: int,
        generation: int,
        listeners: Sequence[socket.socket],
        on_ready: Callable[[], None],
    ) -> None:
        """For Tercio alone."""
        self.slot = slot
        """Its place in the cluster, from 0 on. At most one worker at a time takes work in it."""
        self.incarnation = incarnation
        """The how-manieth process of its slot."""
        self.generation = generation
        """The release that it loaded."""
        self.listeners: tuple[socket.socket, ...] = tuple(listeners)
        """Sockets that are bound and listen, one for each ``--bind``; they do not block. They are
        the cluster's: accept from them while `takes_work` says so, and do not close them."""
        self._on_ready = on_ready

    @property
    def id(self) -> str:
        """``SLOT.INCARNATION``: who it is."""
        return f"{self.slot}.{self.incarnation}"

    def ready(self) -> None:
        """Say that this worker can take work; until then no predecessor leaves.

        It has to be said within ``--start-timeout``. From any thread; again does nothing.
        """
        self._on_ready()


class Worker(_Place):
    """For ``async def main(worker)``. All of it is called in the event loop."""

    def __init__(
        self,
        slot: int,
        incarnation: int,
        generation: int,
        listeners: Sequence[socket.socket],
        on_ready: Callable[[], None],
        hooks: Hooks,
        backlog: int,
    ) -> None:
        super().__init__(slot, incarnation, generation, listeners, on_ready)
        self._hooks = hooks
        self._backlog = backlog
        self.draining: asyncio.Event = asyncio.Event()
        """Set when this worker is to finish what it has and return from ``main``."""
        self._changed = asyncio.Event()
        self._is_serving = False

    async def takes_work(self) -> bool:
        """Wait until this worker is to take work: True. False once it is to go.

        A worker waits before its predecessor is done with, and while a reload is on trial that
        replaces it. Ask before each piece of work.
        """
        while not self._is_serving and not self.draining.is_set():
            await self._change()
        return not self.draining.is_set()

    async def serve(self, connected: Connected) -> None:
        """Accept connections at all listeners, and call ``connected`` for each in a task.

        Returns when this worker is to go and the last of these tasks has ended. Connections are
        closed when theirs ends, and counted for `tercio status` and ``--balance least``.
        """
        tasks: set[asyncio.Task[None]] = set()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._converse(connected, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            while await self.takes_work():
                servers = [await self._server(each, begin) for each in self.listeners]
                try:
                    while self._is_serving and not self.draining.is_set():
                        await self._change()
                finally:
                    for server in servers:
                        server.close()
            while tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _server(
        self,
        listener: socket.socket,
        begin: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
    ) -> asyncio.Server:
        # A server closes its socket, and the next one needs it again.
        own = listener.dup()
        if own.family == socket.AF_UNIX:
            return await asyncio.start_unix_server(begin, sock=own, backlog=self._backlog)
        return await asyncio.start_server(begin, sock=own, backlog=self._backlog)

    async def _converse(
        self, connected: Connected, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._hooks.connection_made()
        try:
            await connected(reader, writer)
        finally:
            self._hooks.connection_lost()
            writer.close()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # For Tercio alone

    def let_work(self, *, is_serving: bool) -> None:
        """The worker serves, or is parked."""
        self._is_serving = is_serving
        self._changed.set()

    def drain(self) -> None:
        """It is to go."""
        self.draining.set()
        self._changed.set()


class ThreadWorker(_Place):
    """For ``def main(worker)``, which runs in a thread."""

    def __init__(
        self,
        slot: int,
        incarnation: int,
        generation: int,
        listeners: Sequence[socket.socket],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(slot, incarnation, generation, listeners, on_ready)
        self.draining: threading.Event = threading.Event()
        """Set when this worker is to finish what it has and return from ``main``."""
        self._changed = threading.Condition()
        self._is_serving = False

    def takes_work(self) -> bool:
        """Wait until this worker is to take work: True. False once it is to go.

        A worker waits before its predecessor is done with, and while a reload is on trial that
        replaces it. Ask before each piece of work.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_serving or self.draining.is_set())
        return not self.draining.is_set()

    # For Tercio alone

    def let_work(self, *, is_serving: bool) -> None:
        """The worker serves, or is parked."""
        with self._changed:
            self._is_serving = is_serving
            self._changed.notify_all()

    def drain(self) -> None:
        """It is to go."""
        with self._changed:
            self.draining.set()
            self._changed.notify_all()
