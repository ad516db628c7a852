"""Hear what other hosts publish, notice what is missing, and hand both on. One a host.

Each publisher numbers its messages: a jump is a loss, and exactly as large. After a connection was
lost nobody knows what was published meanwhile until its publishers speak again: that is said at
once, as a loss of unknown size.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tercio.engines.redis import envelope
from tercio.engines.redis.connection import Connection
from tercio.engines.redis.readiness import Readiness
from tercio.engines.redis.url import Address

_log: Final = logging.getLogger("tercio.redis")

_MOST_PUBLISHERS: Final = 10_000
_SILENCE: Final = 1.0  # seconds without a word after which the server is asked for one


class Bridge:
    """The subscription of one host."""

    def __init__(
        self,
        address: Address,
        channel: bytes,
        host: bytes,
        name: str,
        deliver: Callable[[list[tuple[bytes, bytes]]], None],
        lost: Callable[[int, int], None],
    ) -> None:
        self.readiness = Readiness(f"{address} (messages from others)")
        self.received = 0
        self.lost = 0
        self.malformed = 0
        """Payloads on the channel that nobody of us has sent."""
        self._address = address
        self._channel = channel
        self._host = host
        self._name = name
        self._deliver = deliver
        self._tell_lost = lost
        self._expected: OrderedDict[int, int] = OrderedDict()
        self._connection: Connection | None = None
        self._reconnects = self._timeouts = 0
        self._was_up = False

    @property
    def is_open(self) -> bool:
        """Whether it listens, or tries to."""
        return self._connection is not None

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        now = self._connection
        return self._reconnects + (max(0, now.connects - 1) if now else 0)

    @property
    def timeouts(self) -> int:
        """How often the server did not answer in time."""
        return self._timeouts + (self._connection.timeouts if self._connection else 0)

    def open(self, *, is_successor: bool) -> None:
        """Listen, in the running loop. A successor does not know what came before it."""
        if self._connection is not None and self._connection.loop is asyncio.get_running_loop():
            return
        self._was_up = is_successor
        self.readiness.changed = self._changed
        self._connection = Connection(
            self._address,
            self.readiness,
            name=self._name,
            channel=self._channel,
            pushed=self._pushed,
            ping_after=min(_SILENCE, self._address.timeout),
        )

    def close(self) -> None:
        """Hear nothing more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reconnects += max(0, connection.connects - 1)
            self._timeouts += connection.timeouts
            if not connection.loop.is_closed():
                connection.close()

    def _changed(self, is_up: bool) -> None:
        if is_up:
            if self._was_up:
                self._tell_lost(0, 0)
            self._was_up = True

    def _pushed(self, push: list[bytes]) -> None:
        packed = push[2]
        if envelope.host_of(packed) == self._host:
            return  # Our own ring has it already.
        try:
            sent = envelope.unpack(packed)
        except envelope.Malformed as error:
            if not self.malformed:
                _log.warning("something else publishes on our channel in Redis: %s", error)
            self.malformed += 1
            return
        messages = self._numbered(sent)
        self.received += len(messages)
        self._deliver(messages)

    def _numbered(self, sent: envelope.Envelope) -> list[tuple[bytes, bytes]]:
        """What of it is new; tells what is missing before it."""
        expected = self._expected.get(sent.publisher)
        messages = sent.messages
        after = sent.first + len(messages)
        if expected is not None:
            if sent.first > expected:
                missing = sent.first - expected
                self.lost += missing
                self._tell_lost(missing, sent.publisher)
            elif sent.first < expected:
                messages = messages[expected - sent.first :]
                after = max(after, expected)
        elif len(self._expected) >= _MOST_PUBLISHERS:
            self._expected.popitem(last=False)
        self._expected[sent.publisher] = after
        self._expected.move_to_end(sent.publisher)
        return messages
