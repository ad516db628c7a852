"""Read what others publish: in one loop, in short stretches, so that messages never starve it.

Who has read everything sleeps until a publisher wakes it. With nobody to read for nothing of ours
is in the loop.
"""

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import Final

from tercio.bus.engine import Receiver
from tercio.dataplane.cursors import Cursors
from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.rings import Rings
from tercio.engines.embedded.rush import PAUSE, Rush
from tercio.engines.embedded.stream import Stream
from tercio.engines.embedded.tally import Tally

_log = logging.getLogger("tercio.bus")

_STRETCH: Final = 0.002  # seconds of one drain
_SOON: Final = 0.005  # seconds to a look that should find nothing, while messages flow
_IDLE: Final = 2.0  # the same when none do; a wake-up that was missed costs no more than that
_IDLE_CAREFUL: Final = 0.25  # where the order of stores is not known


class Arrivals:
    """The readers of the process that holds ``seat``."""

    def __init__(
        self, rings: Rings, seat: int, cursors: Cursors, counts: "memoryview[int]"
    ) -> None:
        """``counts`` are the words of the row in which this process counts."""
        self._rings = rings
        self._seat = seat
        self._cursors = cursors
        self.loop: asyncio.AbstractEventLoop | None = None
        """The one in which we read; it may have ended."""
        self.thread: int = 0
        """Of that loop."""
        self._main: Stream | None = None
        self._taps: list[Stream] = []
        self._streams: list[Stream] = []  # all of them
        self._waiters: list[asyncio.Future[None]] = []
        self._is_listening = False
        self._is_draining = False
        self._rush = Rush(rings.capacity)
        self._timer: asyncio.TimerHandle | None = None
        self._interval = _SOON
        self._last_heads = b""
        self._is_closed = False
        self._tally = Tally(counts)

    # Whom to read for

    def bind(self) -> None:
        """Read in the running loop from now on. Raises `RuntimeError` while another one reads."""
        loop = asyncio.get_running_loop()
        before = self.loop
        if loop is before:
            return
        if before is not None and before.is_running():
            if self._streams:
                raise RuntimeError("this process receives in another event loop, which runs")
            if self._is_listening:  # for somebody who waits there, and looks again by itself
                before.call_soon_threadsafe(before.remove_reader, self._fileno())
        # Of a loop that has ended nothing is left: its timers and readers went with it.
        self._timer = None
        self._is_listening = self._is_draining = False
        self._main = None
        self._taps, self._streams, self._waiters = [], [], []
        self._cursors.say([None] * self._rings.seats)
        self.loop, self.thread = loop, threading.get_ident()

    def start(self, receiver: Receiver) -> None:
        """Give ``receiver`` what comes from now on."""
        self._main = self._open(receiver)
        self._changed()
        self._sleep()

    def stop(self) -> None:
        """Give it nothing any more."""
        if self._main is not None:
            self._tally.keep(self._main.reader)
            self._main = None
        self._changed()

    def tap(self, receiver: Receiver) -> Stream:
        """Begin a stream for which publishers wait."""
        stream = self._open(receiver)
        self._taps.append(stream)
        self._changed()
        self._say_done()
        self._sleep()
        return stream

    def end(self, stream: Stream) -> None:
        """End a tap."""
        if stream in self._taps:
            self._taps.remove(stream)
            self._tally.keep(stream.reader)
            self._changed()
            self._say_done()

    def close(self) -> None:
        """Read nothing any more, and touch nothing."""
        self.stop()
        for tap in list(self._taps):
            self.end(tap)
        self._is_closed = True

    def leave_to_parent(self) -> None:
        """In a forked child: forget all, touch nothing."""
        self._is_closed = True
        self.loop = self._timer = self._main = None
        self._taps, self._streams, self._waiters = [], [], []

    def _open(self, receiver: Receiver) -> Stream:
        return Stream(RingReader(self._rings, self._seat), receiver, self)

    def _changed(self) -> None:
        self._streams = [*self._taps] if self._main is None else [self._main, *self._taps]
        self._listen_or_not()

    def counters(self) -> dict[str, int]:
        """What was read: received, lost, bad, missed_wakeups."""
        return self._tally.counters(stream.reader for stream in self._streams)

    # What wakes us

    def wake_up(self) -> asyncio.Future[None]:
        """Done at the next wake-up, in the running loop, which need not be ours."""
        loop = asyncio.get_running_loop()
        if self.loop is None or not self.loop.is_running():
            self.bind()
        waiter = loop.create_future()
        self._waiters.append(waiter)
        if loop is self.loop:
            self._listen_or_not()
        elif self.loop is not None:
            self.loop.call_soon_threadsafe(self._listen_or_not)
        return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Nobody waits for that wake-up any more."""
        with suppress(ValueError):  # it came
            self._waiters.remove(waiter)
        if threading.get_ident() == self.thread:
            self._listen_or_not()

    def _listen_or_not(self) -> None:
        """With nothing to wait for, nothing of ours is in the loop."""
        loop = self.loop
        if self._is_closed or loop is None:
            return
        if self._streams or self._waiters:
            if not self._is_listening:
                self._is_listening = True
                loop.add_reader(self._fileno(), self._woken)
            return
        self._rings.asleep[self._seat] = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_listening and not loop.is_closed():
            loop.remove_reader(self._fileno())
        self._is_listening = False

    def _fileno(self) -> int:
        return self._rings.wakes.fileno(self._seat)

    def _woken(self) -> None:
        if self._is_closed:
            return
        self._rings.wakes.clear(self._seat)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            with suppress(RuntimeError):  # its loop has ended
                waiter.get_loop().call_soon_threadsafe(_finish, waiter)
        if not self._is_draining:
            self._drain()

    # Reading

    def look_for_own(self) -> None:
        """We have published something. From any thread."""
        for stream in self._streams:
            if stream.receiver.wants_own:
                self.look_soon()
                return

    def look_soon(self) -> None:
        """Look for messages with the loop's next turn. From any thread."""
        if threading.get_ident() == self.thread:
            self.drain_soon()
        elif self.loop is not None:
            with suppress(RuntimeError):  # it has ended
                self.loop.call_soon_threadsafe(self.drain_soon)

    def drain_soon(self) -> None:
        """The same, in the loop's thread."""
        if not self._is_draining and self.loop is not None and not self._is_closed:
            self._is_draining = True
            self._rings.asleep[self._seat] = 0
            self.loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._is_draining = False
        if self._is_closed or not self._streams:
            return
        until = time.monotonic() + _STRETCH
        is_more = True  # unless we get to the end: what goes through must not leave us deaf
        try:
            is_more = self._drain_streams(until)
        finally:
            if self._taps:
                self._say_done()
            self._tally.write(stream.reader for stream in self._streams)
            if is_more:
                self.drain_soon()
            elif not self._is_closed:
                self._rest()

    def _drain_streams(self, until: float) -> bool:
        is_more = False
        for stream in self._streams:
            try:
                is_more |= stream.reader.drain(stream.receiver, until)
            except (Exception, asyncio.CancelledError):
                _log.exception("a message could not be taken")
                is_more = True
        return is_more

    def _rest(self) -> None:
        """All was read: sleep, or in a rush look again by the clock."""
        if self.loop is not None and self._streams and self._rush.is_on(self._rings.head_words):
            self._is_draining = True
            self.loop.call_later(PAUSE, self._drain)
        else:
            self._sleep()

    def _sleep(self) -> None:
        """Ask to be woken, unless something has come in that moment."""
        rings = self._rings
        rings.asleep[self._seat] = 1
        rings.fence()
        for stream in self._streams:
            if stream.reader.has_more(stream.receiver):
                self.drain_soon()
                return
        if self._streams and (self._timer is None or self._interval > _SOON):
            self._arm(_SOON)

    def _arm(self, interval: float) -> None:
        """Look again by itself. A belt: a wake-up that is missed would be missed for long."""
        if self.loop is None:
            return
        if self._timer is not None:
            if interval >= self._interval:
                return
            self._timer.cancel()
        self._interval = interval
        self._timer = self.loop.call_later(interval, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._is_closed:
            return
        heads = bytes(self._rings.head_bytes)
        is_flowing, self._last_heads = heads != self._last_heads, heads
        asleep = self._rings.asleep[self._seat] == 1
        if not self._is_draining and any(s.reader.has_more(s.receiver) for s in self._streams):
            self._tally.missed_wakeups += asleep
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


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
