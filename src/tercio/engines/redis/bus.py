"""The bus over several hosts: locally as it is, between hosts over one channel of Redis or Valkey.

Every process publishes for itself, to its host's own engine and to the channel. One process of each
host, the bridge, hears the channel and republishes what comes from elsewhere on its host. Policies
hold up publishers of the same host only.
"""

import os
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tercio.bus.engine import BusEngine, Receiver, Routes, Tap
from tercio.engines.redis.bridge import Bridge
from tercio.engines.redis.commands import Names
from tercio.engines.redis.election import Election
from tercio.engines.redis.envelope import HOST_BYTES
from tercio.engines.redis.handshake import tls_context
from tercio.engines.redis.intake import Intake
from tercio.engines.redis.publisher import Publisher
from tercio.engines.redis.readiness import Readiness
from tercio.engines.redis.url import Address
from tercio.errors import ConfigError, MessageTooLarge

LOST_TOPIC: Final = b".redis.lost"
"""The topic on which the bridge tells its host what was lost on the way to it."""
_LOST: Final = struct.Struct("<QQ")  # how many, of whom

LARGEST: Final = 31 << 20
"""Bytes of one message: the server cuts off a subscriber for which it keeps 32 MiB."""


class RedisBus:
    """A `BusEngine` around the host's own."""

    def __init__(
        self,
        address: Address,
        *,
        local: BusEngine,
        is_bridge: bool = True,
        bridge_file: str = "",
        prefix: str = "tercio:",
        host: bytes = b"",
        name: str = "tercio",
        outgoing: int = 4 << 20,
    ) -> None:
        """``host`` is 8 bytes that all processes of this cluster on this host have, no others.

        ``outgoing`` is how many bytes wait while the server is away; the oldest are dropped first.
        With ``bridge_file`` the processes of this host that name the same file have one bridge,
        always: who leaves or dies is followed by another one. Without it and without
        ``is_bridge`` some other process must be it; see `take_over`. Raises `ConfigError`.
        """
        tls_context(address)
        if host and len(host) != HOST_BYTES:
            raise ConfigError(f"the id of a host is {HOST_BYTES} bytes")
        self._address = address
        self._local = local
        self._channel = Names.under(prefix).channel
        self._host = host or secrets.token_bytes(HOST_BYTES)
        self._name = name
        self._outgoing = outgoing
        self._is_bridge = is_bridge and not bridge_file
        self._bridge_file = bridge_file
        self._election: Election | None = None
        self._main: Intake | None = None
        self._taps: list[_BridgedTap] = []
        self._is_started = False
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._publisher = Publisher(
            self._address, self._channel, self._host, self._outgoing, self._name
        )
        self._bridge = Bridge(
            self._address,
            self._channel,
            self._host,
            self._name,
            self._deliver,
            self._lost,
        )

    @property
    def readiness(self) -> Readiness:
        """Whether this process can publish to other hosts."""
        return self._publisher.readiness

    @property
    def bridge_readiness(self) -> Readiness:
        """Whether this host hears other hosts; says nothing in a process that is no bridge."""
        return self._bridge.readiness

    # What `BusEngine` asks for.

    def start(self, receiver: Receiver) -> None:
        """See `BusEngine`."""
        self._main = Intake(receiver)
        self._local.start(_Inlet(receiver))
        self._publisher.bind()
        self._is_started = True
        if self._bridge_file:
            if self._election is not None:
                self._election.stop()  # It was for a loop that has ended.
            self._election = Election(self._bridge_file, self)
            self._election.start()
        elif self._is_bridge:
            self._bridge.open(is_successor=False)

    def stop_receiving(self) -> None:
        """See `BusEngine`. A bridge goes on for its host until it is closed."""
        if self._main is not None:
            self._main.close()
            self._main = None
        self._local.stop_receiving()

    def tap(self, receiver: Receiver) -> Tap | None:
        """See `BusEngine`. It holds up publishers of this host only."""
        inner = self._local.tap(_Inlet(receiver))
        if inner is None:
            return None
        tap = _BridgedTap(inner, Intake(receiver), self._taps.remove)
        self._taps.append(tap)
        return tap

    def send(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """See `BusEngine`."""
        limit = min(LARGEST, self._address.max_reply - (64 << 10))
        if len(body) > limit:
            raise MessageTooLarge(
                f"a message of {len(body)} bytes: over Redis the limit is {limit}"
            )
        if self._pid != os.getpid():
            self._inherited.append(
                (self._publisher, self._bridge)
            )  # the parent's; see `RedisState`
            self._begin()
        self._local.send(topic, body, own=own)
        self._publisher.add(topic, body)

    async def flush(self, limit: float) -> None:
        """See `BusEngine`: the server has confirmed it."""
        await self._local.flush(limit)
        await self._publisher.flush(limit)

    async def wait_for_room(self, limit: float) -> None:
        """See `BusEngine`. Other hosts hold nobody up."""
        await self._local.wait_for_room(limit)

    def counters(self) -> dict[str, int]:
        """See `BusEngine`: the local engine's, and redis_* for what crossed the server."""
        publisher, bridge = self._publisher, self._bridge
        return self._local.counters() | {
            "redis_received": bridge.received,
            "redis_lost": bridge.lost,
            "redis_malformed": bridge.malformed,
            "redis_dropped": publisher.dropped,
            "redis_failed": publisher.failed,
            "redis_reconnects": publisher.reconnects + bridge.reconnects,
            "redis_timeouts": publisher.timeouts + bridge.timeouts,
        }

    def close(self) -> None:
        """See `BusEngine`. To wait for the server's word, `flush` first."""
        self._is_started = False
        if self._pid == os.getpid() and self._election is not None:
            self._election.stop()
        self._bridge.close()
        if self._pid == os.getpid():
            self._publisher.close()
        self._local.close()

    # Who is the bridge.

    @property
    def is_bridge(self) -> bool:
        """Whether this process hears the channel for its host."""
        return self._is_bridge

    def take_over(self) -> None:
        """Be the bridge from now on, in the running loop.

        What was published since the last one went is lost; that is told to all of this host.
        """
        was, self._is_bridge = self._is_bridge, True
        if self._is_started:
            self._bridge.open(is_successor=not was)

    def step_down(self) -> None:
        """Be the bridge no more."""
        self._is_bridge = False
        self._bridge.close()

    # What the bridge hands on.

    def _deliver(self, messages: list[tuple[bytes, bytes]]) -> None:
        send = self._local.send
        for topic, body in messages:
            # Others of this host get it from us; we ourselves must not take it for our own.
            send(topic, body, own=False)
        for intake in self._intakes():
            intake.take(messages)

    def _lost(self, count: int, sender: int) -> None:
        self._local.send(LOST_TOPIC, _LOST.pack(count, sender), own=False)
        for intake in self._intakes():
            intake.receiver.lost(count, sender)

    def _intakes(self) -> list[Intake]:
        main = [] if self._main is None else [self._main]
        return main + [tap.intake for tap in self._taps]


class _Inlet(Mapping[bytes, Callable[[bytes], None] | None]):
    """A receiver for the local engine, and its routes with one more: what the bridge tells."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def routes(self) -> Routes:
        return self

    @property
    def own_routes(self) -> Routes:
        return self._receiver.own_routes

    @property
    def wants_own(self) -> bool:
        return self._receiver.wants_own

    def lost(self, count: int, sender: int) -> None:
        self._receiver.lost(count, sender)

    def _told(self, body: bytes) -> None:
        if len(body) == _LOST.size:
            self._receiver.lost(*_LOST.unpack(body))

    def __getitem__(self, topic: bytes) -> Callable[[bytes], None] | None:
        return self._told if topic == LOST_TOPIC else self._receiver.routes[topic]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._receiver.routes)

    def __len__(self) -> int:
        return len(self._receiver.routes)


class _BridgedTap:
    """A tap of the local engine, and one of what the bridge has heard."""

    def __init__(self, inner: Tap, intake: Intake, closed: "Callable[[_BridgedTap], None]") -> None:
        self.intake = intake
        self._inner = inner
        self._closed = closed
        self._is_closed = False

    def pause(self) -> None:
        self._inner.pause()
        self.intake.pause()

    def resume(self) -> None:
        self._inner.resume()
        self.intake.resume()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._closed(self)
            self._inner.close()
            self.intake.close()
