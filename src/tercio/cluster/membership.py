"""What this process is to a cluster: a worker of it, attached to it, or on its own."""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from tercio.cluster.post import Letters, Post
from tercio.config import Config
from tercio.core import affinity
from tercio.core.model import WorkerId
from tercio.dataplane.shared import Shared

Mode = Literal["worker", "attached", "local"]


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that this code runs in; all zeros in a process that is none."""

    slot: int = 0
    incarnation: int = 0
    generation: int = 0
    _secret: bytes = field(default=b"", repr=False)
    post: Post = field(default_factory=Post, repr=False, compare=False)
    """For Tercio alone."""

    def messages(self) -> Letters:
        """Iterate over what the program that launched the cluster sends to this worker.

        ``async for message in cluster.worker.messages()``; it ends when the worker is to go. Each
        message comes to one reader. Until they are taken 256 messages of 1 MiB together wait, from
        before the first call on; more are refused, and the sender is told. Elsewhere than in a
        worker nothing ever comes.
        """
        return self.post.read()

    def send_to_launcher(self, message: object) -> None:
        """Send the program that launched the cluster a message: `Running.messages`. Never waits.

        From any thread. Raises `Unencodable` and `ValueTooLarge` (64 KiB as msgpack),
        `MessageRefused` beyond 100 messages or 1 MiB a second, and `NotInCluster` where no program
        launched the cluster. A program that is too slow to read loses messages, and is told.
        """
        self.post.send(message)

    def affinity_token(self) -> str:
        """A new session id that names this worker: 128 random bits, fit for a cookie or a URL.

        With ``--sticky`` naming where clients send it, their requests come to this worker as long
        as it lives, a reload's drain included; then to another one, for which it is unknown. Where
        there is no cluster, or no ``--sticky``, it is just a random id. An application that has
        ids already may send ``f"{affinity_token()}~{id}"``.
        """
        return affinity.mint(WorkerId(self.slot, self.incarnation), self._secret)

    @property
    def id(self) -> str:
        """``SLOT.INCARNATION``: who it is. A pid may be used again."""
        return f"{self.slot}.{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in the memory and the state that the processes of a cluster share."""

    number: int
    shared: Shared
    state: Mapping[str, object]
    """Where the shared state is, see `engines.embedded.open_state`."""
    host: bytes
    """Eight bytes that all processes of this cluster on this host have, and no others."""


class Connection:
    """An attached process's connection to the primary. It ends with the cluster."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._pid = os.getpid()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        threading.Thread(target=self._watch, name="tercio-attached", daemon=True).start()

    def is_over(self) -> bool:
        """Whether the cluster has ended, or this is a fork of the process that attached."""
        return self._ended.is_set() or self._pid != os.getpid()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the cluster has ended: once, in a thread of ours, or at once."""
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def confirm(self) -> None:
        """Tell the primary that its descriptors are mapped: the seat is ours while we live."""
        self._socket.sendall(b"\n")

    def close(self) -> None:
        """Give the connection up; in a fork only the copy of it."""
        if self._pid == os.getpid():
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread; closing does not
        self._socket.close()

    def _watch(self) -> None:
        with suppress(OSError):
            while self._socket.recv(4096):
                pass  # nothing comes but the end
        with self._lock:
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


@dataclass(frozen=True, slots=True)
class Membership:
    """Who this process is. ``seat`` is None in mode "local"."""

    mode: Mode = "local"
    worker: Worker = field(default_factory=Worker)
    name: str = ""
    directory: str = ""
    """The cluster's runtime directory."""
    config: Config = field(default_factory=Config)
    seat: Seat | None = None
    connection: "Connection | None" = None
    """To the primary, of an attached process."""
    tell: Callable[[Mapping[str, object]], None] | None = None
    """Send a message to the primary, in a worker."""
    is_template: bool = False
    """It will be a worker, by forking; until then nothing of the cluster can be reached."""

    def give_up(self) -> None:
        """Close what an attached process has of a cluster that has ended, or of its parent."""
        if self.connection is not None and self.seat is not None:
            self.connection.close()
            with suppress(BufferError):  # somebody holds a piece of it still
                self.seat.shared.close()

    def is_over(self) -> bool:
        """Whether an attached process must attach again: it is a fork, or the cluster has ended."""
        return self.connection is not None and self.connection.is_over()
