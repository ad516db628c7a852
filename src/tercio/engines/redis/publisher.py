"""Send what one process publishes, from any of its threads, over one connection.

At most once: what was under way when a connection ended is not sent again. After a connection is
back, an empty envelope tells the others up to which number they should have heard us.
"""

import asyncio
import logging
import secrets
import threading
from contextlib import suppress
from typing import Final

import hiredis

from tercio.engines.loopthread import LoopThread
from tercio.engines.redis import envelope
from tercio.engines.redis.connection import Connection
from tercio.engines.redis.outbox import Outbox
from tercio.engines.redis.readiness import Readiness
from tercio.engines.redis.url import Address
from tercio.engines.redis.wire import Reply
from tercio.errors import StateBusy, StateUnavailable

_log: Final = logging.getLogger("tercio.redis")

_PATIENCE: Final = 1.0  # of whoever closes it in a thread, in seconds
_WINDOW: Final = 4 << 20  # bytes sent and not confirmed yet


class Publisher:
    """One publisher, as the others see it: an id and its numbers."""

    def __init__(
        self, address: Address, channel: bytes, host: bytes, limit: int, name: str
    ) -> None:
        self.id = secrets.randbits(63)
        self.readiness = Readiness(f"{address} (messages to others)")
        self.failed = 0
        """Batches that may not have arrived."""
        self._address = address
        self._channel = channel
        self._host = host
        self._name = name
        self._outbox = Outbox(limit)
        self._lock = threading.Lock()
        self._is_due = False
        self._thread = LoopThread("tercio redis bus")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._connection: Connection | None = None
        self._unconfirmed = 0
        self._settled: asyncio.Future[None] | None = None
        self._reconnects = self._timeouts = 0

    @property
    def dropped(self) -> int:
        """Messages that were dropped unsent, for want of room."""
        return self._outbox.dropped

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        now = self._connection
        return self._reconnects + (max(0, now.connects - 1) if now else 0)

    @property
    def timeouts(self) -> int:
        """How often the server did not answer in time."""
        return self._timeouts + (self._connection.timeouts if self._connection else 0)

    def bind(self) -> None:
        """Send from the running loop, from now on."""
        self._use(asyncio.get_running_loop())
        self._connect()

    def add(self, topic: bytes, body: bytes) -> None:
        """Send a message with the loop's next turn."""
        self._outbox.add(topic, body)
        loop = self._loop
        if self._is_due and loop is not None and not loop.is_closed():
            return
        with self._lock:
            loop = self._home()
            self._is_due = True
        try:
            if threading.get_ident() == self._loop_thread:
                loop.call_soon(self._turn)
            else:
                loop.call_soon_threadsafe(self._turn)
        except RuntimeError:  # The loop was closed in this moment; the next message finds another.
            self._is_due = False

    async def flush(self, limit: float) -> None:
        """Return when the server has confirmed all. Raises `TimeoutError`."""
        loop = self._loop
        if loop is None or not (len(self._outbox) or self._unconfirmed or self._is_due):
            return
        if loop is asyncio.get_running_loop():
            async with asyncio.timeout(limit):
                await self._flushed()
        else:
            there = asyncio.run_coroutine_threadsafe(self._flushed(), loop)
            async with asyncio.timeout(limit):
                await asyncio.wrap_future(there)

    def flush_now(self, limit: float) -> None:
        """The same where no loop runs. What is not confirmed in time is left to its fate."""
        if self._thread.is_running and (len(self._outbox) or self._unconfirmed or self._is_due):
            try:
                self._thread.run(self._flushed(), limit)
            except TimeoutError:
                _log.warning("%d messages were not sent to Redis at the end", len(self._outbox))

    def close(self) -> None:
        """Send what is left, as far as there is a connection, and give it up."""
        connection, loop = self._connection, self._loop
        if self._thread.is_running and loop is self._thread.loop:
            self.flush_now(_PATIENCE)
            with suppress(TimeoutError):
                self._thread.run(self._finished(), _PATIENCE)
        elif connection is not None and loop is not None and loop.is_running():
            if threading.get_ident() == self._loop_thread:
                self._finish(connection)
            else:
                loop.call_soon_threadsafe(self._finish, connection)
        self._thread.close(_PATIENCE)
        self._connection = self._loop = None

    def _home(self) -> asyncio.AbstractEventLoop:
        """The loop that sends: where we were started, else the running one, else a thread's."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            return loop
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = self._thread.loop
        self._use(loop)
        return loop

    def _use(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            return
        if self._connection is not None:
            self._reconnects += self._connection.connects
            self._timeouts += self._connection.timeouts
        self._loop = loop
        self._connection = None
        self._unconfirmed = 0
        self._settled = None
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        self._loop_thread = threading.get_ident() if here else 0
        if len(self._outbox):
            loop.call_soon_threadsafe(self._turn)

    # The rest runs in the loop.

    def _connect(self) -> Connection:
        if self._connection is None:
            self._loop_thread = threading.get_ident()
            self.readiness.changed = self._changed
            self._connection = Connection(self._address, self.readiness, name=self._name)
        return self._connection

    def _changed(self, is_up: bool) -> None:
        if is_up:
            if self._connection is not None and self._connection.connects > 1:
                self._send(self._outbox.first, [])
            self._turn()

    def _turn(self) -> None:
        self._is_due = False
        self._connect()
        while self.readiness.is_up and self._unconfirmed < _WINDOW:
            first, batch = self._outbox.take()
            if not batch:
                break
            self._send(first, batch)

    def _send(self, first: int, batch: list[tuple[bytes, bytes]]) -> None:
        packed = envelope.pack(self._host, self.id, first, batch)
        try:
            sent = self._connect().call(b"PUBLISH", self._channel, packed)
        except (StateUnavailable, StateBusy) as error:
            self._count_failure(error)
            return
        size = len(packed)
        self._unconfirmed += size
        sent.add_done_callback(lambda done: self._confirmed(done, size))

    def _confirmed(self, done: asyncio.Future[Reply], size: int) -> None:
        self._unconfirmed -= size
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            reply = done.result()
            error = reply if isinstance(reply, hiredis.ReplyError) else None
        if error is not None:
            self._count_failure(error)
        if len(self._outbox):
            self._turn()
        self._settle()

    def _count_failure(self, error: BaseException) -> None:
        self.failed += 1
        if not isinstance(error, StateUnavailable):  # That is logged by the connection.
            _log.warning("messages could not be published: %s", error)

    def _settle(self) -> None:
        if not len(self._outbox) and not self._unconfirmed and self._settled is not None:
            if not self._settled.done():
                self._settled.set_result(None)
            self._settled = None

    async def _flushed(self) -> None:
        self._turn()
        while len(self._outbox) or self._unconfirmed:
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            # Shielded: others may wait for the same.
            await asyncio.shield(self._settled)

    async def _finished(self) -> None:
        if self._connection is not None:
            self._finish(self._connection)
            await self._connection.wait_closed()

    def _finish(self, connection: Connection) -> None:
        self._turn()
        connection.close(finish=True)
