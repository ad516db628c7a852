"""The event loop in which a bus receives."""

import asyncio
import threading
from collections.abc import Callable


class Home:
    """One loop at a time: the first that enters, until it has ended."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Be the running loop; whether it was another one before.

        Raises `RuntimeError` while another one is home, or where none runs.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop is self._loop:
                return False
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError(
                    "this bus receives in another event loop, which runs in another thread: "
                    "use asyncio.run_coroutine_threadsafe with that loop (publish works in any "
                    "thread)"
                )
            self._loop = loop
            return True

    def call(self, callback: Callable[[], None]) -> None:
        """Call it there: at once if we are there, and never if it has ended or is not known."""
        try:
            if asyncio.get_running_loop() is self._loop:
                callback()
                return
        except RuntimeError:
            pass  # of a thread without a loop
        self.call_soon(callback)

    def call_soon(self, callback: Callable[[], None]) -> bool:
        """The same with its next turn; False if it will not be called."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)
                return True
        except RuntimeError:
            pass  # it has ended
        return False
