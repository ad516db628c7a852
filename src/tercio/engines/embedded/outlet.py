"""Write the ring of this process from any thread, one at a time."""

import threading
from collections import deque
from typing import Final

from tercio.dataplane.cursors import Cursors
from tercio.dataplane.frames import LARGEST
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tercio.dataplane.scoreboard import Field
from tercio.engines.embedded.expiry import Expiry
from tercio.errors import ForkedFromWorker, NoCluster

_LARGE: Final = LARGEST // 2  # bytes of a body that may have become a parcel
_SENT: Final = int(Field.BUS_SENT)


class Outlet:
    """The way out. What is put in waits for `flush`, unless it fills a batch."""

    def __init__(
        self, rings: Rings, seat: int, cursors: Cursors, counts: "memoryview[int]"
    ) -> None:
        """``counts`` are the words of the row in which this process counts."""
        # Re-entrant: a finalizer may publish in the middle of a `put` of the same thread.
        self._lock = threading.RLock()
        self._is_busy = False
        self._deferred: deque[tuple[bytes, bytes, bool]] = deque()
        self._cursors = cursors
        self._counts = counts
        self._writer = RingWriter(rings, seat)
        self._is_shut = False
        self._is_forked = False
        self._expiry = Expiry(self._lock, self._expire)
        self._hold()  # a holder that died may have left something
        self.sent: int = 0

    def has_room(self) -> bool:
        """Whether no reader that is waited for would lose by one more message."""
        slowest = self._cursors.slowest()
        if slowest is None:
            return True
        with self._lock:
            return self._writer.has_room(slowest)

    def put(self, topic: bytes, body: bytes, *, own: bool) -> None:
        """Add a message.

        Raises `MessageTooLarge`, `ForkedFromWorker` in a forked child, `NoCluster` after `close`.
        """
        with self._lock:
            if self._is_shut:
                self.must_be_open()
            if self._is_busy:
                self._deferred.append((topic, body, own))
                return
            self._is_busy = True
            try:
                self._writer.add(topic, body, own=own)
                self.sent += 1
            finally:
                self._is_busy = False
            if len(body) > _LARGE:
                self._hold()

    def flush(self) -> None:
        """Write everything into the ring, where it outlives this process."""
        with self._lock:
            # Busy: in the middle of a `put` below us, on this very thread.
            if self._is_shut or self._is_busy:
                return
            self._is_busy = True
            try:
                while self._deferred:
                    topic, body, own = self._deferred.popleft()
                    self._writer.add(topic, body, own=own)
                    self.sent += 1
                    self._hold()
                self._writer.flush()
                self._counts[_SENT] = self.sent
            finally:
                self._is_busy = False

    def close(self) -> None:
        """Write what is left. After this nothing is touched any more: memory may be gone."""
        with self._lock:
            self.flush()
            self._is_shut = True
            self._expiry.end()

    def leave_to_parent(self) -> None:
        """In a forked child: the ring is the parent's, and what waits will be sent by it."""
        self._is_shut = self._is_forked = True
        self._lock = threading.RLock()  # a thread that is not here may have held it
        self._expiry.leave_to_parent(self._lock)
        self._deferred.clear()

    def must_be_open(self) -> None:
        """Raise what says why it is not."""
        if self._is_forked:
            raise ForkedFromWorker(
                "this process was forked from a member of the cluster and cannot publish; "
                "publish in the parent"
            )
        if self._is_shut:
            raise NoCluster(
                "this bus was closed: its cluster has ended, or this process leaves it; look "
                "`cluster.bus` up anew"
            )

    def _hold(self) -> None:
        """See that large messages are given back."""
        parcels = self._writer.parcels
        if parcels is not None and parcels.next_expiry is not None:
            self._expiry.begin(parcels.next_expiry)

    def _expire(self) -> float | None:
        parcels = self._writer.parcels
        if parcels is None or self._is_shut:
            return None
        was_busy, self._is_busy = self._is_busy, True  # a finalizer may publish right here
        try:
            # Nothing that a reader wants for whom publishers wait.
            parcels.expire(self._cursors.slowest())
        finally:
            self._is_busy = was_busy
        return parcels.next_expiry
