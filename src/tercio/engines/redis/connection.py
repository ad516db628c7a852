"""Keep a connection to the server: connect in the background, again after each end.

Commands given while there is none wait for the next, as long as their time-out lasts; when the
server has been away for longer than that, they fail at once. What was sent on a connection that
ended is never sent again: nobody knows whether it was carried out.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final

from tercio.engines.redis.backoff import Backoff
from tercio.engines.redis.handshake import Refused, ask, open_wire, tls_context
from tercio.engines.redis.readiness import Readiness
from tercio.engines.redis.sentinel import check_master, find_master
from tercio.engines.redis.url import Address
from tercio.engines.redis.wire import (
    MOST_BYTES,
    MOST_WAITING,
    Argument,
    Reply,
    Wire,
    fail,
    packed,
)
from tercio.errors import ConfigError, StateBusy, StateUnavailable

_HELD: Final = 1.0  # a connection that lasted this long was a good one


class Connection:
    """One connection after another, in the running loop. Not for other threads.

    Raises `ConfigError` if its certificates cannot be read.
    """

    def __init__(
        self,
        address: Address,
        readiness: Readiness,
        *,
        name: str = "",
        channel: bytes = b"",
        pushed: Callable[[list[bytes]], None] | None = None,
        ping_after: float = 0.0,
    ) -> None:
        """``channel`` is subscribed to on each connection, and ``pushed`` gets what comes there.

        After ``ping_after`` seconds of silence, five time-outs as a rule, the server is asked
        whether it is there.
        """
        self.readiness = readiness
        tls_context(address)  # what cannot work is said now
        self.connects = 0
        self.refused = 0
        """Commands that failed without being sent."""
        self._address = address
        self._name = name
        self._channel = channel
        self._pushed = pushed
        self._ping_after = ping_after or 5 * address.timeout
        self._timeouts = 0
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._last: Wire | None = None
        self._backlog: deque[tuple[bytes, asyncio.Future[Reply], float]] = deque()
        self._backlog_bytes = 0
        self._ended: asyncio.Future[str] | None = None
        self._down_since = self._loop.time()
        self._closed = False
        self._task = self._loop.create_task(self._keep(), name=f"redis {name}")
        self._timer = self._loop.call_later(self._ping_after, self._ping)
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it belongs to."""
        return self._loop

    @property
    def timeouts(self) -> int:
        """How often the server did not answer in time."""
        return self._timeouts + (self._wire.timeouts if self._wire else 0)

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send a command with this turn of the loop, or when there is a connection again.

        The future ends with the reply, which may be a `hiredis.ReplyError`, or with
        `StateUnavailable`. Raises `StateBusy` when too many wait, `StateUnavailable` when it has
        no hope.
        """
        wire = self._wire
        if wire is not None:
            return wire.send(packed(command), self._loop.create_future())
        now = self._loop.time()
        if self._closed or now - self._down_since > self._address.timeout:
            self.refused += 1
            reason = "it is closed" if self._closed else self.readiness.reason
            raise StateUnavailable(f"{self._address}: {reason}; nothing was sent")
        if len(self._backlog) >= MOST_WAITING or self._backlog_bytes >= MOST_BYTES:
            self.refused += 1
            raise StateBusy(
                f"{len(self._backlog)} commands wait for {self._address} already; nothing was sent"
            )
        body = packed(command)
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._backlog.append((body, future, now + self._address.timeout))
        self._backlog_bytes += len(body)
        if self._expiry is None:
            self._expiry = self._loop.call_at(now + self._address.timeout, self._expire)
        return future

    def drop(self, reason: str) -> None:
        """Give up the connection that is open and look for another."""
        if self._wire is not None:
            self._wire.end(reason)

    def close(self, *, finish: bool = False) -> None:
        """Stop. What waits ends with `StateUnavailable`; with ``finish`` it is still sent."""
        if self._closed:
            return
        wire = self._wire
        if finish and wire is not None:
            self._wire = None  # it ends by itself, when all is sent
            wire.finish()
        self._task.cancel()
        self._stop()

    async def wait_closed(self) -> None:
        """Return when nothing of it is left in the loop."""
        await asyncio.gather(self._task, return_exceptions=True)
        if self._last is not None:
            await asyncio.wait([self._last.gone], timeout=self._address.timeout)

    def _stop(self) -> None:
        self._closed = True
        self._timer.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        backlog, self._backlog = self._backlog, deque()
        for _, future, _ in backlog:
            self._fail(future, "the connection was closed")
        self.drop("the connection was closed")
        self.readiness.closed()

    async def _keep(self) -> None:
        try:
            await self._connect_again_and_again()
        finally:
            self._stop()  # A loop that ends cancels us: it must not leave a socket behind.

    async def _connect_again_and_again(self) -> None:
        backoff = Backoff(random.random)
        while True:
            try:
                async with asyncio.timeout(self._address.timeout):
                    wire = await self._connect()
            except TimeoutError:
                self.readiness.down(f"no connection within {self._address.timeout:g} s")
            except (OSError, Refused, StateUnavailable, ConfigError) as error:
                self.readiness.down(str(error) or type(error).__name__)
            else:
                began = self._loop.time()
                reason = await self._use(wire)
                self._down_since = self._loop.time()
                if self._down_since - began >= _HELD:
                    backoff.reset()
                self.readiness.down(reason)
            await asyncio.sleep(backoff.pause())

    async def _connect(self) -> Wire:
        address = self._address
        host = None
        if address.service:
            host = await find_master(address)
        elif not address.path:
            host = address.hosts[0]
        wire = await open_wire(
            address,
            host,
            lambda: Wire(address.timeout, address.max_reply, self._wire_ended, self._pushed),
            user=address.user,
            password=address.password,
            name=self._name,
            db=address.db,
        )
        try:
            if address.service:
                await check_master(wire)
            if self._channel:
                await ask(wire, "SUBSCRIBE", self._channel)
        except BaseException:
            wire.end("the server did not take us")
            raise
        return wire

    async def _use(self, wire: Wire) -> str:
        """Be connected until it ends; the answer is why it did."""
        if wire.reason:
            return wire.reason
        self._ended = self._loop.create_future()
        self._wire = self._last = wire
        self.connects += 1
        for body, future, deadline in self._backlog:
            if not future.done():
                wire.send(body, future, deadline)
        self._backlog.clear()
        self._backlog_bytes = 0
        self.readiness.up()
        return await self._ended

    def _wire_ended(self, wire: Wire, reason: str) -> None:
        if wire is not self._wire:
            return
        self._timeouts += wire.timeouts
        self._wire = None
        self._down_since = self._loop.time()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    def _expire(self) -> None:
        """End what has waited for a connection for too long."""
        self._expiry = None
        now = self._loop.time()
        while self._backlog and self._backlog[0][2] <= now:
            body, future, _ = self._backlog.popleft()
            self._backlog_bytes -= len(body)
            self._fail(future, self.readiness.reason)
        if self._backlog:
            self._expiry = self._loop.call_at(self._backlog[0][2], self._expire)

    def _fail(self, future: asyncio.Future[Reply], reason: str) -> None:
        self.refused += 1
        if not future.done():
            fail(future, f"{self._address}: {reason}; nothing was sent")

    def _ping(self) -> None:
        """Ask a silent server for a sign of life: a half-open connection is silent for ever."""
        wire = self._wire
        if (
            wire is not None
            and wire.is_idle
            and self._loop.time() - wire.heard >= self._ping_after * 0.9
        ):
            # Its time-out ends the connection; the reply itself says nothing.
            wire.call("PING").add_done_callback(_forget)
        self._timer = self._loop.call_later(self._ping_after, self._ping)


def _forget(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()
