"""Decide when a WebSocket is pinged, and when its client counts as gone. Pure: time is given.

quiet --interval over--> pinged --pong--> quiet
                         pinged --nothing heard for the time-out--> overdue
"""

import os


class Pings:
    """The pings of one WebSocket. Seconds; 0 is never for the interval, for ever for the time-out.

    Nothing here is done for a message, and there is no timer: the sweep looks.
    """

    __slots__ = ("_due", "_interval", "_overdue", "_pinged", "_timeout", "_waiting")

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._due = 0.0  # 0: from the next look on
        self._pinged = 0.0
        self._overdue = 0.0
        self._waiting: bytes | None = None  # the content of the ping under way

    def pong(self, content: bytes) -> None:
        """A pong came; it counts if it answers the ping that is under way."""
        if content == self._waiting:
            self._waiting = None
            self._due = self._pinged + self._interval

    def look(self, now: float, is_heard: bool) -> bytes | None:
        """The content of a ping that is due. Raises `Overdue`.

        ``is_heard``: something came since the last look, or nothing could, as nobody reads. A
        client that is in the middle of a long message cannot answer before its end.
        """
        if not self._interval:
            return None
        if self._waiting is not None and self._timeout:
            if not is_heard:
                if now >= self._overdue:
                    raise Overdue
                return None
            self._overdue = now + self._timeout
        if not self._due:
            self._due = now + self._interval
        if now < self._due:
            return None
        self._waiting = os.urandom(4)
        self._pinged = now
        self._due = now + self._interval
        self._overdue = now + self._timeout
        return self._waiting


class Overdue(Exception):
    """A ping was not answered in time."""
