"""Messages that wait, up to a bound; the oldest are dropped first. Not for several threads."""

from collections import deque
from typing import Final

from tercio.engines.redis.envelope import FRAME_BYTES

LARGE_ROOM: Final = 64 << 20
"""Bytes of large messages: one of them must not push out all small ones."""


class Backlog:
    """Small messages have ``limit`` bytes; those of a quarter of it and more have their own room.

    The newest stays, however large it is.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._large_from = limit // 4
        self._messages: deque[tuple[bytes, bytes]] = deque()
        self._small = self._large = 0

    def push(self, topic: bytes, body: bytes) -> int:
        """Append a message; the answer is how many were dropped for it."""
        self._messages.append((topic, body))
        self._weigh(topic, body, 1)
        dropped = 0
        while (self._small > self._limit or self._large > LARGE_ROOM) and len(self) > 1:
            self.pop()
            dropped += 1
        return dropped

    def pop(self) -> tuple[bytes, bytes]:
        """Take the oldest."""
        topic, body = self._messages.popleft()
        self._weigh(topic, body, -1)
        return topic, body

    @property
    def next_bytes(self) -> int:
        """The size of the oldest."""
        topic, body = self._messages[0]
        return len(topic) + len(body) + FRAME_BYTES

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._small = self._large = 0

    def __len__(self) -> int:
        return len(self._messages)

    def _weigh(self, topic: bytes, body: bytes, sign: int) -> None:
        size = len(topic) + len(body) + FRAME_BYTES
        if size < self._large_from:
            self._small += sign * size
        else:
            self._large += sign * size
