"""The bus over rings in shared memory: no server, and no work for the primary.

What is published goes into our own ring with the loop's next turn, or at once when a batch is full;
what others publish is read in short stretches, so that messages never starve requests.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
import weakref
from typing import Final

from tercio.bus.engine import Receiver
from tercio.dataplane.cursors import Cursors
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.rings import Rings
from tercio.dataplane.scoreboard import Field, Row
from tercio.engines.embedded.outlet import Outlet
from tercio.engines.embedded.stream import Stream
from tercio.errors import NoCluster

_log = logging.getLogger("tercio.bus")

_STRETCH: Final = 0.002  # seconds of one drain
_SOON: Final = 0.005  # seconds to a look that should find nothing, while messages flow
_IDLE: Final = 1.0  # the same when none do; a wake-up that was missed costs no more than that
_IDLE_CAREFUL: Final = 0.25  # where the order of stores is not known
_ALL: Final = (1 << 64) - 1

_sent: Final = int(Field.BUS_SENT)
_received: Final = int(Field.BUS_RECEIVED)
_lost: Final = int(Field.BUS_LOST)
_bad: Final = int(Field.BUS_BAD)


class EmbeddedBus:
    """The `BusEngine` of the process that holds ``seat``. ``row`` is where it counts."""

    def __init__(self, rings: Rings, seat: int, row: Row | None = None) -> None:
        self._rings = rings
        self._seat = seat
        self._row = row.words if row is not None else memoryview(bytearray(1024)).cast("Q")
        self._outlet = Outlet(rings, seat)
        self._cursors = Cursors(rings, seat)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # of the loop
        self._flushes_in: asyncio.AbstractEventLoop | None = None
        self._main: Stream | None = None
        self._taps: list[Stream] = []
        self._is_listening = False
        self._is_draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._interval = _SOON
        self._last_heads = b""
        self._expiry: asyncio.TimerHandle | None = None
        self._rooms: list[asyncio.Future[None]] = []
        self._is_closed = False
        self._is_given_up = False  # closed by its owner, not by a fork
        self._counts = {"received": 0, "lost": 0, "bad": 0, "missed_wakeups": 0}
        _engines.add(self)

    # Publishing

    def send(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """See `BusEngine`."""
        if self._is_given_up:
            raise NoCluster(
                "this bus was closed: its cluster has ended, or this process leaves it; look "
                "`cluster.bus` up anew"
            )
        self._outlet.put(topic, body, own=own)
        if self._flushes_in is None or self._flushes_in.is_closed():
            self._flush_soon()

    def _flush_soon(self) -> None:
        loop = self._running_loop()
        if loop is None:
            self._flush()
            return
        self._flushes_in = loop
        if threading.get_ident() == self._thread:
            loop.call_soon(self._tick)
        else:
            loop.call_soon_threadsafe(self._tick)

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        """Our loop, or the one that runs here now; None if none does."""
        loop = self._loop
        if loop is None or not loop.is_running():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return None
            self._bind(loop)
        return loop

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError("this process receives in another event loop, which runs")
            # Of a loop that has ended nothing is left: its timers and readers went with it.
            self._timer = self._expiry = None
            self._is_listening = self._is_draining = False
            self._main, self._taps, self._rooms = None, [], []
            self._cursors.say([None] * self._rings.seats)
        self._loop = loop
        self._thread = threading.get_ident()

    def _tick(self) -> None:
        """Once a turn of the loop in which something was published."""
        if self._is_closed:
            return
        self._flush()
        if self._is_receiving_own():
            self.drain_soon()
        if self._outlet.has_parcels and self._expiry is None:
            self._expire()

    def _flush(self) -> None:
        if self._is_closed:  # what it would write to may be gone
            return
        # Before: what another thread adds from now on asks for another flush.
        self._flushes_in = None
        self._outlet.flush()
        self._row[_sent] = self._outlet.sent

    def _expire(self) -> None:
        """Give back what large messages took, in time."""
        self._expiry = None
        when = self._outlet.expire(self._cursors.slowest())
        if when is not None and self._loop is not None:
            delay = max(_IDLE_CAREFUL, when - time.monotonic())
            self._expiry = self._loop.call_later(delay, self._expire)

    async def flush(self, limit: float) -> None:
        """See `BusEngine`. It takes no time: what is in the ring outlives us."""
        self._flush()
        if self._is_receiving_own():
            self.drain_soon()

    async def wait_for_room(self, limit: float) -> None:
        """See `BusEngine`."""
        loop = asyncio.get_running_loop()
        self._bind(loop)
        deadline = loop.time() + limit
        try:
            while not self._has_room():
                left = deadline - loop.time()
                if left <= 0:
                    raise TimeoutError(f"no room in the ring for {limit:g} s: a reader is slow")
                self._listen()
                room = loop.create_future()
                self._rooms.append(room)
                self._cursors.ask(is_waiting=True)
                if not self._has_room():
                    # Not longer: the reader may die in the moment in which it should wake us.
                    await asyncio.wait({room}, timeout=min(left, _IDLE_CAREFUL))
                if room in self._rooms:
                    self._rooms.remove(room)
        finally:
            self._unlisten()

    def _has_room(self) -> bool:
        slowest = self._cursors.slowest()
        return slowest is None or self._outlet.has_room(slowest)

    # Receiving

    def start(self, receiver: Receiver) -> None:
        """See `BusEngine`."""
        self._bind(asyncio.get_running_loop())
        self._flush()  # what we have published ourselves counts as before, too
        self._main = Stream(RingReader(self._rings, self._seat), receiver, self)
        self._listen()
        self._sleep()

    def stop_receiving(self) -> None:
        """See `BusEngine`."""
        if self._main is not None:
            self._keep_counts(self._main)
            self._main = None
        self._unlisten()

    def tap(self, receiver: Receiver) -> Stream:
        """See `BusEngine`."""
        self._bind(asyncio.get_running_loop())
        self._flush()
        stream = Stream(RingReader(self._rings, self._seat), receiver, self)
        self._taps.append(stream)
        self._say_done()
        self._listen()
        self._sleep()
        return stream

    def end(self, stream: Stream) -> None:
        """End a tap."""
        if stream in self._taps:
            self._taps.remove(stream)
            self._keep_counts(stream)
            self._say_done()
        self._unlisten()

    def _streams(self) -> list[Stream]:
        return self._taps if self._main is None else [self._main, *self._taps]

    def _is_receiving_own(self) -> bool:
        return any(stream.receiver.wants_own for stream in self._streams())

    def _listen(self) -> None:
        if not self._is_listening and self._loop is not None:
            self._is_listening = True
            self._loop.add_reader(self._rings.wakes.fileno(self._seat), self._woken)

    def _unlisten(self) -> None:
        """With nothing to wait for, nothing of ours is in the loop."""
        if self._main is not None or self._taps or self._rooms:
            return
        self._rings.asleep[self._seat] = 0
        self._cursors.ask(is_waiting=False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_listening and self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._rings.wakes.fileno(self._seat))
        self._is_listening = False

    def _woken(self) -> None:
        self._rings.wakes.clear(self._seat)
        if self._rooms:
            rooms, self._rooms = self._rooms, []
            for room in rooms:
                if not room.done():
                    room.set_result(None)
        if not self._is_draining:
            self._drain()

    def drain_soon(self) -> None:
        """Look for messages with the loop's next turn."""
        if not self._is_draining and self._loop is not None:
            self._is_draining = True
            self._rings.asleep[self._seat] = 0
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._is_draining = False
        if self._is_closed:
            return
        until = time.monotonic() + _STRETCH
        is_more = True  # unless we get to the end: what goes through must not leave us deaf
        try:
            is_more = self._drain_streams(until)
        finally:
            if self._taps:
                self._say_done()
            self._count()
            if is_more:
                self.drain_soon()
            else:
                self._sleep()

    def _drain_streams(self, until: float) -> bool:
        is_more = False
        for stream in self._streams():
            try:
                is_more |= stream.reader.drain(stream.receiver, until)
            except (Exception, asyncio.CancelledError):
                _log.exception("a message could not be taken")
                is_more = True
        return is_more

    def _sleep(self) -> None:
        """Ask to be woken, unless something has come in that moment."""
        rings = self._rings
        rings.asleep[self._seat] = 1
        rings.fence()
        streams = self._streams()
        for stream in streams:
            if stream.reader.has_more(stream.receiver):
                self.drain_soon()
                return
        if streams and (self._timer is None or self._interval > _SOON):
            self._arm(_SOON)

    def _arm(self, interval: float) -> None:
        """Look again by itself. A belt: a wake-up that is missed would be missed for long."""
        if self._loop is None:
            return
        if self._timer is not None:
            if interval >= self._interval:
                return
            self._timer.cancel()
        self._interval = interval
        self._timer = self._loop.call_later(interval, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._is_closed:
            return
        heads = bytes(self._rings.head_bytes)
        is_flowing, self._last_heads = heads != self._last_heads, heads
        asleep = self._rings.asleep[self._seat] == 1
        if not self._is_draining and any(s.reader.has_more(s.receiver) for s in self._streams()):
            self._counts["missed_wakeups"] += asleep
            self.drain_soon()
        idle = _IDLE_CAREFUL if self._rings.is_careful else _IDLE
        self._arm(_SOON if is_flowing else idle)

    def _say_done(self) -> None:
        """Say to publishers how far our taps are."""
        done = [tap.reader.done() for tap in self._taps]
        said: list[int | None] = [min(each) for each in zip(*done, strict=True)]
        # Our own ring is read only for those who want what we publish.
        own = [
            each[self._seat]
            for each, tap in zip(done, self._taps, strict=True)
            if tap.receiver.wants_own
        ]
        said = said or [None] * self._rings.seats
        said[self._seat] = min(own, default=None)
        self._cursors.say(said)

    # Counting and ending

    def _keep_counts(self, stream: Stream) -> None:
        self._counts["received"] += stream.reader.received
        self._counts["lost"] += stream.reader.lost
        self._counts["bad"] += stream.reader.bad

    def _count(self) -> None:
        row, kept = self._row, self._counts
        received, lost, bad = kept["received"], kept["lost"], kept["bad"]
        for stream in self._streams():
            reader = stream.reader
            received += reader.received
            lost += reader.lost
            bad += reader.bad
        row[_received] = received
        row[_lost] = lost & _ALL
        row[_bad] = bad

    def counters(self) -> dict[str, int]:
        """See `BusEngine`: sent, received, lost, bad, missed_wakeups."""
        counts = {"sent": self._outlet.sent, **self._counts}
        for stream in self._streams():
            counts["received"] += stream.reader.received
            counts["lost"] += stream.reader.lost
            counts["bad"] += stream.reader.bad
        return counts

    def close(self) -> None:
        """See `BusEngine`."""
        if self._is_closed:
            return
        self._flush()
        self._is_closed = self._is_given_up = True
        self.stop_receiving()
        for tap in list(self._taps):
            self.end(tap)
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        _engines.discard(self)

    def flush_at_exit(self) -> None:
        """Send what is left, when the interpreter ends."""
        self._flush()

    def leave_to_parent(self) -> None:
        """In a forked child: the ring is the parent's, and so is everything that waits in it."""
        self._outlet.leave_to_parent()
        self._is_closed = True
        self._loop = self._flushes_in = None
        self._main, self._taps, self._rooms = None, [], []
        self._timer = self._expiry = None


_engines: "weakref.WeakSet[EmbeddedBus]" = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for engine in list(_engines):
        engine.leave_to_parent()


def _flush_all() -> None:
    for engine in list(_engines):
        engine.flush_at_exit()


os.register_at_fork(after_in_child=_leave_all_to_parent)
atexit.register(_flush_all)
