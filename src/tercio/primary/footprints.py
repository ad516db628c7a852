"""Measure the memory of workers outside of the loop.

The kernel walks the page tables of a worker for it, some ms per GiB, and first waits for a lock
that the worker holds while it maps memory. No supervision may wait for that.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Final

from tercio.system import memory
from tercio.system.memory import Footprint

_PATIENCE: Final = 1.0  # seconds
_THREADS: Final = 4

Read = Callable[[int], Footprint | None]
Footprints = dict[int, Footprint | None]


class Scales:
    """Weighs processes. One that is being weighed is not weighed a second time meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read: Read = memory.footprint) -> None:
        self._loop = loop
        self._read = read
        self._known: Footprints = {}
        self._noted: dict[int, float] = {}
        self._awaited: dict[int, asyncio.Future[None]] = {}

    async def weigh(
        self, pids: Collection[int], patience: float = _PATIENCE, *, oldest: float = 0.0
    ) -> Footprints:
        """What each takes now; of one that cannot be measured in time, what was last known.

        What is known for less than ``oldest`` seconds is not measured anew.
        """
        # A number that is used again must not wait for an answer about its last owner.
        self._awaited = {pid: asked for pid, asked in self._awaited.items() if pid in pids}
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}
        self._noted = {pid: noted for pid, noted in self._noted.items() if pid in pids}
        stale = [pid for pid in pids if self._age(pid) >= oldest]
        fresh = deque(pid for pid in stale if pid not in self._awaited)
        self._awaited |= {pid: self._loop.create_future() for pid in fresh}
        self._start_threads(fresh)
        if awaited := [self._awaited[pid] for pid in stale]:
            await asyncio.wait(awaited, timeout=patience)
        return {pid: self._known.get(pid) for pid in pids}

    def _age(self, pid: int) -> float:
        return self._loop.time() - self._noted.get(pid, -math.inf)

    def _start_threads(self, pids: deque[int]) -> None:
        for started in range(min(_THREADS, len(pids))):
            # Not the loop's own pool: the end of the primary would wait for its threads.
            thread = threading.Thread(
                target=self._work, args=(pids,), name="tercio-memory", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # no more threads are to be had; those that run do it all
                if started == 0:
                    while pids:
                        self._note(pids.popleft(), None)
                return

    def _work(self, pids: deque[int]) -> None:
        """In a thread."""
        with suppress(IndexError, RuntimeError):  # all are taken, or the loop is closed
            while True:
                pid = pids.popleft()
                try:
                    footprint = self._read(pid)
                except Exception:  # whatever it was, somebody waits for the answer
                    footprint = None
                self._loop.call_soon_threadsafe(partial(self._note, pid, footprint))

    def _note(self, pid: int, footprint: Footprint | None) -> None:
        self._known[pid] = footprint
        self._noted[pid] = self._loop.time()
        asked = self._awaited.pop(pid, None)
        if asked is not None and not asked.done():
            asked.set_result(None)
