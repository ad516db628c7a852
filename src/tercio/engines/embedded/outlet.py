"""Write the ring of this process from any thread, one at a time."""

import threading
from collections import deque

from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tercio.errors import ForkedFromWorker


class Outlet:
    """The way out. What is put in waits for `flush`, unless it fills a batch."""

    def __init__(self, rings: Rings, seat: int) -> None:
        # Re-entrant: a finalizer may publish in the middle of a `put` of the same thread.
        self._lock = threading.RLock()
        self._is_busy = False
        self._deferred: deque[tuple[bytes, bytes, bool]] = deque()
        self._writer = RingWriter(rings, seat)
        self._is_forked = False
        self.sent = 0

    def has_room(self, slowest: int) -> bool:
        """Whether a reader that is at ``slowest`` loses nothing by one more message."""
        with self._lock:
            return self._writer.has_room(slowest)

    def put(self, topic: bytes, body: bytes, *, own: bool) -> None:
        """Add a message. Raises `MessageTooLarge`, or `ForkedFromWorker` in a forked child."""
        if self._is_forked:
            raise ForkedFromWorker(
                "this process was forked from a member of the cluster and cannot publish; "
                "publish in the parent"
            )
        with self._lock:
            if self._is_busy:
                self._deferred.append((topic, body, own))
                return
            self._is_busy = True
            try:
                self._writer.add(topic, body, own=own)
                self.sent += 1
            finally:
                self._is_busy = False

    def flush(self) -> None:
        """Write everything into the ring, where it outlives this process."""
        if self._is_forked:
            return
        with self._lock:
            if self._is_busy:
                return  # in the middle of a `put` below us, on this very thread
            self._is_busy = True
            try:
                while self._deferred:
                    topic, body, own = self._deferred.popleft()
                    self._writer.add(topic, body, own=own)
                    self.sent += 1
                self._writer.flush()
            finally:
                self._is_busy = False

    def expire(self, slowest: int | None) -> float | None:
        """Give back what large messages took, in time; when there is more to give back.

        Nothing that a reader at ``slowest`` wants, if one is waited for.
        """
        parcels = self._writer.parcels
        if parcels is None or self._is_forked:
            return None
        with self._lock:
            parcels.expire(slowest)
            return parcels.next_expiry

    @property
    def has_parcels(self) -> bool:
        """Whether `expire` has something to wait for."""
        parcels = self._writer.parcels
        return parcels is not None and parcels.next_expiry is not None

    def leave_to_parent(self) -> None:
        """In a forked child: the ring is the parent's, and what waits will be sent by it."""
        self._is_forked = True
        self._lock = threading.RLock()  # a thread that is not here may have held it
        self._deferred.clear()
