"""A failover by a real sentinel."""

import asyncio
from collections.abc import Callable

from tercio.engines.local.bus import LocalBus
from tercio.engines.redis.bus import RedisBus
from tercio.engines.redis.state import RedisState
from tercio.engines.redis.url import Address
from tercio.errors import StateUnavailable
from tercio.state import verbs
from tests.engines.redis.conftest import MakeServer
from tests.engines.redis.test_bus import Ear, until
from tests.engines.redis.valkey import SentinelServer, Valkey
from tests.ports import free_port


async def test_a_failover_is_followed(
    make_server: MakeServer, make_sentinel: Callable[[Valkey], SentinelServer]
) -> None:
    master = make_server("--repl-diskless-sync-delay", "0", tcp=True)
    replica = make_server("--replicaof", "127.0.0.1", str(master.port), tcp=True)
    behind = RedisState(Address.parse(replica.url))
    sentinel = make_sentinel(master)
    # The first sentinel does not exist: one that is gone must not matter.
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}"
    address = Address.parse(f"redis+sentinel://{hosts}/main")
    state = RedisState(address)
    bus, ear = RedisBus(address, local=LocalBus()), Ear()
    bus.start(ear)
    assert await state.run(verbs.Set(b"k", b"before"))
    asked = asyncio.get_running_loop().time()
    while await behind.run(verbs.Get(b"k")) != b"before":
        await asyncio.sleep(0.05)
    await _sentinel_knows_the_replica(sentinel)
    await until(lambda: bus.bridge_readiness.is_up)
    master.kill()
    while True:
        assert asyncio.get_running_loop().time() - asked < 60
        try:
            await state.run(verbs.Set(b"k", b"after"))
            break
        except StateUnavailable:
            await asyncio.sleep(0.05)
    assert await behind.run(verbs.Get(b"k")) == b"after"
    await until(lambda: (0, 0) in ear.losses and bus.bridge_readiness.is_up)
    bus.close()
    await state.close()
    await behind.close()


async def _sentinel_knows_the_replica(sentinel: SentinelServer) -> None:
    looking = RedisState(Address.parse(sentinel.url))
    # A sentinel knows no SET, but it takes a connection like a server does.
    connection = looking._connection()
    while not await connection.call("SENTINEL", "REPLICAS", "main"):
        await asyncio.sleep(0.05)
    await looking.close()
