"""Messages that wait to be sent: numbered, bounded, the oldest dropped first. Any thread."""

import threading
from collections import deque
from typing import Final

from tercio.engines.redis.envelope import FRAME_BYTES

BATCH_BYTES: Final = 64 << 10


class Outbox:
    """Numbers are given on arrival, so that what is dropped here is a gap elsewhere."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0
        self._next = 0  # the number of the next message that comes in

    def add(self, topic: bytes, body: bytes) -> None:
        """Append a message. The newest stays, however large it is."""
        size = len(topic) + len(body) + FRAME_BYTES
        with self._lock:
            self._messages.append((topic, body))
            self._next += 1
            self._bytes += size
            while self._bytes > self._limit and len(self._messages) > 1:
                oldest = self._messages.popleft()
                self._bytes -= len(oldest[0]) + len(oldest[1]) + FRAME_BYTES
                self.dropped += 1

    def take(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The next batch, and the number of its first message; at least one if there is one."""
        batch: list[tuple[bytes, bytes]] = []
        size = 0
        with self._lock:
            first = self._next - len(self._messages)
            while self._messages:
                topic, body = self._messages[0]
                more = len(topic) + len(body) + FRAME_BYTES
                if batch and size + more > BATCH_BYTES:
                    break
                batch.append(self._messages.popleft())
                size += more
            self._bytes -= size
        return first, batch

    @property
    def first(self) -> int:
        """The number of the message that goes out next, be it here already or not."""
        with self._lock:
            return self._next - len(self._messages)

    def __len__(self) -> int:
        return len(self._messages)
