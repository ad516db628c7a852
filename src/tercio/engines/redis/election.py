"""Let exactly one process of a host be the bridge, by a lock on a file that ends with it."""

import asyncio
import fcntl
import os
import threading
from typing import Protocol


class Candidate(Protocol):
    """Who may be elected."""

    def take_over(self) -> None:
        """Be the bridge, in the running loop."""

    def step_down(self) -> None:
        """Be it no more."""


class Election:
    """Waits for the lock in a thread, and then calls ``take_over`` in the loop."""

    def __init__(self, path: str, candidate: Candidate) -> None:
        """``path`` is one file for all processes of the cluster on this host."""
        self._path = path
        self._candidate = candidate
        self._lock = threading.Lock()
        self._is_over = False
        self._held = -1

    def start(self) -> None:
        """Stand for it, in the running loop. Raises `OSError` if the file cannot be opened."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        loop = asyncio.get_running_loop()
        # A daemon: nothing can interrupt a wait for a lock but the end of the process.
        threading.Thread(
            target=self._wait, args=(descriptor, loop), name="tercio bridge", daemon=True
        ).start()

    def stop(self) -> None:
        """Step down, or stand no more."""
        with self._lock:
            self._is_over = True
            held, self._held = self._held, -1
        self._candidate.step_down()
        if held >= 0:
            os.close(held)

    def _wait(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with self._lock:
            if not self._is_over:
                self._held = descriptor
                try:
                    loop.call_soon_threadsafe(self._elected)
                except RuntimeError:
                    self._held = -1  # the loop has ended: another may have it
                else:
                    return
        os.close(descriptor)

    def _elected(self) -> None:
        if not self._is_over:
            self._candidate.take_over()
