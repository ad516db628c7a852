"""Tell a slow reader from one that reads nothing. Pure."""


class Stall:
    """Bytes wait to be written since ``now``."""

    __slots__ = ("_left", "_since")

    def __init__(self, now: float, left: int) -> None:
        self._since = now
        self._left = left

    def is_over(self, now: float, left: int, timeout: float) -> bool:
        """Whether nothing was read for ``timeout`` seconds; 0 = never."""
        if left < self._left:
            self._since = now
        self._left = left
        return bool(timeout) and now - self._since > timeout
