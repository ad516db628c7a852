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
        size = len(topic) + len(body) + FRAME_BYTES
        if size < self._large_from:
            self._small += size
        else:
            self._large += size
        dropped = 0
        while (self._small > self._limit or self._large > LARGE_ROOM) and len(self._messages) > 1:
            self.pop()
            dropped += 1
        return dropped

    def pop(self) -> tuple[bytes, bytes]:
        """Take the oldest."""
        message = self._messages.popleft()
        size = len(message[0]) + len(message[1]) + FRAME_BYTES
        if size < self._large_from:
            self._small -= size
        else:
            self._large -= size
        return message

    def pop_batch(self, most_bytes: int) -> list[tuple[bytes, bytes]]:
        """Take the oldest together, up to so many bytes; at least one if there is one."""
        batch: list[tuple[bytes, bytes]] = []
        left, messages, large_from = most_bytes, self._messages, self._large_from
        while messages:
            message = messages[0]
            size = len(message[0]) + len(message[1]) + FRAME_BYTES
            left -= size
            if left < 0 and batch:
                break
            batch.append(message)
            messages.popleft()
            if size < large_from:
                self._small -= size
            else:
                self._large -= size
        return batch

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._small = self._large = 0

    def __len__(self) -> int:
        return len(self._messages)
