"""Messages that wait to be sent: numbered, bounded, the oldest dropped first. Any thread."""

import threading
from typing import Final

from tercio.engines.redis.backlog import Backlog

BATCH_BYTES: Final = 64 << 10


class Outbox:
    """Numbers are given on arrival, so that what is dropped here is a gap elsewhere."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._backlog = Backlog(limit)
        self._next = 0  # the number of the next message that comes in

    def add(self, topic: bytes, body: bytes) -> None:
        """Append a message."""
        with self._lock:
            self._next += 1
            self.dropped += self._backlog.push(topic, body)

    def take(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The next batch, and the number of its first message; at least one if there is one."""
        with self._lock:
            return self._next - len(self._backlog), self._backlog.pop_batch(BATCH_BYTES)

    @property
    def first(self) -> int:
        """The number of the message that goes out next, be it here already or not."""
        with self._lock:
            return self._next - len(self._backlog)

    def __len__(self) -> int:
        return len(self._backlog)
