"""The time of engines in a test."""

import time


class Clock:
    """The time of the engines in this process, in seconds."""

    def __init__(self) -> None:
        self._offset = 0.0

    def __call__(self) -> float:
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once. Who waits for a lock or an item looks again soon."""
        if seconds < 0:
            raise ValueError("time goes forward only")
        self._offset += seconds
