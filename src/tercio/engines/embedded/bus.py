"""The bus over rings in shared memory: no server, and no work for the primary.

What is published goes into our own ring with the loop's next turn, or at once when a batch is full;
`Arrivals` reads what others publish.
"""

import asyncio
import atexit
import os
import threading
import weakref
from typing import Final

from tercio.bus.engine import Receiver
from tercio.dataplane.cursors import Cursors
from tercio.dataplane.rings import Rings
from tercio.dataplane.scoreboard import Row
from tercio.engines.embedded.arrivals import Arrivals
from tercio.engines.embedded.outlet import Outlet
from tercio.engines.embedded.stream import Stream

_LOOK_AGAIN: Final = 0.25  # seconds: a reader may die in the moment in which it should wake us


class EmbeddedBus:
    """The `BusEngine` of the process that holds ``seat``. ``row`` is where it counts."""

    def __init__(self, rings: Rings, seat: int, row: Row | None = None) -> None:
        counts = row.words if row is not None else memoryview(bytearray(1024)).cast("Q")
        self._cursors = Cursors(rings, seat)
        self._outlet = Outlet(rings, seat, self._cursors, counts)
        self._arrivals = Arrivals(rings, seat, self._cursors, counts)
        self._departs_in: asyncio.AbstractEventLoop | None = None
        self._waiting = 0  # who waits for room
        self._is_closed = False
        _engines.add(self)

    # Publishing

    def send(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """See `BusEngine`."""
        self._outlet.put(topic, body, own=own)
        departs_in = self._departs_in
        if departs_in is None or not departs_in.is_running():
            self._depart_soon()

    def _depart_soon(self) -> None:
        """With the next turn of the loop in which we receive, or of the one that runs here.

        The latter does not become ours by it: it may be that of a thread of the application.
        """
        ours = self._arrivals.loop
        try:
            if ours is None or not ours.is_running():
                self._departs_in = here = asyncio.get_running_loop()
                here.call_soon(self._depart)
            elif threading.get_ident() == self._arrivals.thread:
                self._departs_in = ours
                ours.call_soon(self._depart)
            else:
                self._departs_in = ours
                ours.call_soon_threadsafe(self._depart)
        except RuntimeError:  # none runs, or not any more
            self._depart()

    def _depart(self) -> None:
        # Before: what another thread adds from now on asks for another departure.
        self._departs_in = None
        self._outlet.flush()
        self._arrivals.look_for_own()

    async def flush(self, limit: float) -> None:
        """See `BusEngine`. It takes no time: what is in the ring outlives us."""
        self._depart()

    async def wait_for_room(self, limit: float) -> None:
        """See `BusEngine`. In any loop."""
        if self._outlet.has_room():
            return
        deadline = asyncio.get_running_loop().time() + limit
        self._waiting += 1
        try:
            while not self._outlet.has_room():
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise TimeoutError(f"no room in the ring for {limit:g} s: a reader is slow")
                await self._wait_for_reader(min(left, _LOOK_AGAIN))
        finally:
            self._waiting -= 1
            if not self._waiting and not self._is_closed:
                self._cursors.ask(is_waiting=False)

    async def _wait_for_reader(self, limit: float) -> None:
        self._outlet.must_be_open()
        woken = self._arrivals.wake_up()
        try:
            self._cursors.ask(is_waiting=True)
            if not self._outlet.has_room():
                await asyncio.wait({woken}, timeout=limit)
        finally:
            self._arrivals.forget(woken)

    # Receiving

    def start(self, receiver: Receiver) -> None:
        """See `BusEngine`."""
        self._outlet.must_be_open()
        self._arrivals.bind()
        self._outlet.flush()  # what we have published ourselves counts as before, too
        self._arrivals.start(receiver)

    def stop_receiving(self) -> None:
        """See `BusEngine`."""
        self._arrivals.stop()

    def tap(self, receiver: Receiver) -> Stream:
        """See `BusEngine`."""
        self._outlet.must_be_open()
        self._arrivals.bind()
        self._outlet.flush()
        return self._arrivals.tap(receiver)

    # Counting and ending

    def counters(self) -> dict[str, int]:
        """See `BusEngine`: sent, received, lost, bad, missed_wakeups."""
        return {"sent": self._outlet.sent, **self._arrivals.counters()}

    def close(self) -> None:
        """See `BusEngine`."""
        if not self._is_closed:
            self._is_closed = True
            self._outlet.close()
            self._arrivals.close()
            _engines.discard(self)

    def flush_at_exit(self) -> None:
        """Send what is left, when the interpreter ends."""
        self._outlet.flush()

    def leave_to_parent(self) -> None:
        """In a forked child: the ring is the parent's, and so is everything that waits in it."""
        self._is_closed = True
        self._departs_in = None
        self._outlet.leave_to_parent()
        self._arrivals.leave_to_parent()


_engines: "weakref.WeakSet[EmbeddedBus]" = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for engine in list(_engines):
        engine.leave_to_parent()


def _flush_all() -> None:
    for engine in list(_engines):
        engine.flush_at_exit()


os.register_at_fork(after_in_child=_leave_all_to_parent)
atexit.register(_flush_all)
