"""Callbacks: called in the loop for each message, and never able to stop the others."""

import asyncio
import logging
from collections.abc import Callable

from tercio.codec import UNREADABLE, decoder_for

_log = logging.getLogger("tercio.bus")


class Handle:
    """A callback or an answerer that can be taken away."""

    def __init__(self, ending: Callable[[], None]) -> None:
        self._ending: Callable[[], None] | None = ending

    def cancel(self) -> None:
        """Take it away. From any thread; again does nothing."""
        ending, self._ending = self._ending, None
        if ending is not None:
            ending()


class Listener:
    """A callback, with the type of what it gets."""

    def __init__(self, callback: Callable[[str, object], object], type: object) -> None:
        self._callback = callback
        self._decode = decoder_for(type)
        self.invalid: int = 0
        self.failed: int = 0
        self._is_over = False

    def close(self) -> None:
        """It was taken away, perhaps by the message just before, of the same stretch."""
        self._is_over = True

    def taker(self, topic: str) -> Callable[[bytes], None]:
        """What decodes and calls, for the messages of one topic."""
        callback, decode = self._callback, self._decode

        def take(body: bytes) -> None:
            if self._is_over:
                return
            try:
                callback(topic, decode(body))
            except UNREADABLE as error:
                self.invalid += 1
                if self.invalid == 1:
                    _log.warning("messages of %s are not of the type asked for: %s", topic, error)
            except (Exception, asyncio.CancelledError):  # the latter: of a future it looked at
                self.failed += 1
                _log.exception("a callback for messages of %s failed", topic)

        return take
