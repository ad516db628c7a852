"""A loop of our own in a thread of our own, for whoever has none."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class LoopThread:
    """An event loop that runs until it is closed. Starts with its first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a program that forgot to close us must be able to end.
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop

    @property
    def is_running(self) -> bool:
        """Whether it was used, and not closed since."""
        return self._loop is not None

    def run(self, coroutine: Coroutine[Any, Any, R], limit: float) -> R:
        """Run it there and wait for its result. Raises `TimeoutError` after ``limit`` seconds, and
        `RuntimeError` in that thread itself, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("this is called by what it would have to wait for")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(limit)
        except TimeoutError:
            future.cancel()
            raise

    def close(self, limit: float) -> None:
        """Stop the loop and wait for the thread, at most ``limit`` seconds."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(limit)
        if not thread.is_alive():
            loop.close()
