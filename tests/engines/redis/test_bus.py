"""What crosses hosts when lines and servers fail: heard once, in order, or counted as lost."""

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tercio.engines.local.bus import Hub, LocalBus
from tercio.engines.redis import envelope
from tercio.engines.redis.bus import LARGEST, RedisBus
from tercio.engines.redis.election import Election
from tercio.engines.redis.url import Address
from tercio.errors import ConfigError, MessageTooLarge
from tests.engines.redis.conftest import MakeServer
from tests.engines.redis.proxy import Proxy
from tests.engines.redis.valkey import PATIENCE, Valkey

HOST = b"one host"


class Ear:
    """A receiver that keeps what it hears."""

    wants_own = True

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.own: list[bytes] = []
        self.losses: list[tuple[int, int]] = []
        self.routes = _Everything(self.heard)
        self.own_routes = _Everything(self.own)

    def lost(self, count: int, sender: int) -> None:
        self.losses.append((count, sender))

    @property
    def lost_count(self) -> int:
        return sum(count for count, _ in self.losses)


class _Everything(dict[bytes, Callable[[bytes], None] | None]):
    def __init__(self, kept: list[bytes]) -> None:
        super().__init__()
        self._kept = kept

    def __missing__(self, topic: bytes) -> Callable[[bytes], None]:
        return self._kept.append


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def listening(
    url: str, *, hub: Hub | None = None, host: bytes = b"", is_bridge: bool = True, **rest: object
) -> AsyncIterator[tuple[RedisBus, Ear]]:
    """One process that hears everything, connected."""
    bus = RedisBus(
        Address.parse(url),
        local=LocalBus(hub),
        host=host,
        is_bridge=is_bridge,
        **rest,  # type: ignore[arg-type]
    )
    ear = Ear()
    bus.start(ear)
    try:
        await until(lambda: bus.readiness.is_up)
        await until(lambda: not is_bridge or bus.bridge_readiness.is_up)
        yield bus, ear
    finally:
        bus.close()
        await asyncio.sleep(0)


def numbers(first: int, after: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, after)]


async def test_everybody_hears_a_message_exactly_once(server: Valkey) -> None:
    hubs = [Hub(), Hub()]
    async with AsyncExitStack() as stack:
        everybody = [
            await stack.enter_async_context(
                listening(server.url, hub=hub, host=b"%8d" % number, is_bridge=is_bridge)
            )
            for number, hub in enumerate(hubs)
            for is_bridge in (True, False)
        ]
        for bus, _ in everybody:
            for number in numbers(0, 100):
                bus.send(b"t", number)
        for bus, ear in everybody:
            await bus.flush(PATIENCE)
            await until(lambda ear=ear: len(ear.heard) >= 300)  # type: ignore[misc]
        await asyncio.sleep(0.01)  # nothing may come twice, not even late
        for _, ear in everybody:
            assert ear.own == numbers(0, 100)
            assert sorted(ear.heard) == sorted(numbers(0, 100) * 3)
            assert ear.losses == []


async def test_after_a_restart_every_message_was_heard_or_counted_as_lost(server: Valkey) -> None:
    async with (
        listening(server.url) as (speaker, _),
        listening(server.url) as (_, ear),
    ):
        for number in numbers(0, 50):
            speaker.send(b"t", number)
        await until(lambda: len(ear.heard) == 50)
        server.kill()
        await until(lambda: not speaker.readiness.is_up)
        for number in numbers(50, 100):
            speaker.send(b"t", number)
        await asyncio.to_thread(server.start)
        await until(lambda: (0, 0) in ear.losses)  # there is a gap, and it is said at once
        speaker.send(b"t", b"100")
        await until(lambda: b"100" in ear.heard)
        assert len(ear.heard) + ear.lost_count == 101
        assert ear.heard == sorted(ear.heard, key=int)
        assert speaker.counters()["redis_reconnects"] >= 1


async def test_what_is_dropped_while_the_server_is_away_is_counted_at_both_ends(
    server: Valkey,
) -> None:
    async with (
        listening(server.url, outgoing=64 << 10) as (speaker, _),
        listening(server.url) as (hearer, ear),
    ):
        speaker.send(b"t", bytes(1000))
        await until(lambda: len(ear.heard) == 1)
        server.kill()
        await until(lambda: not speaker.readiness.is_up)
        for _ in range(1000):
            speaker.send(b"t", bytes(1000))
        dropped = speaker.counters()["redis_dropped"]
        assert dropped > 900
        await asyncio.to_thread(server.start)
        await until(lambda: speaker.readiness.is_up and hearer.bridge_readiness.is_up)
        speaker.send(b"t", b"last")
        await until(lambda: b"last" in ear.heard)
        assert len(ear.heard) + ear.lost_count == 1002
        assert ear.lost_count >= dropped


async def test_a_stopped_server_is_left_and_found_again(server: Valkey) -> None:
    async with (
        listening(server.url) as (speaker, _),
        listening(server.url) as (hearer, ear),
    ):
        speaker.send(b"t", b"0")
        await until(lambda: len(ear.heard) == 1)
        server.stop()
        speaker.send(b"t", b"1")
        await until(lambda: not speaker.readiness.is_up and not hearer.bridge_readiness.is_up)
        speaker.send(b"t", b"2")
        with pytest.raises(TimeoutError):
            await speaker.flush(0.05)
        server.go_on()
        await until(lambda: speaker.readiness.is_up and hearer.bridge_readiness.is_up)
        speaker.send(b"t", b"3")
        await until(lambda: b"3" in ear.heard)
        # The server may still find the first in its socket, and nobody there to tell it.
        assert len(ear.heard) + ear.lost_count == 4
        assert (0, 0) in ear.losses
        assert hearer.counters()["redis_timeouts"] >= 1


async def test_a_half_open_subscription_is_noticed_in_silence(server: Valkey) -> None:
    async with (
        Proxy(server.path) as proxy,
        listening(server.url) as (speaker, _),
        listening(f"redis://127.0.0.1:{proxy.port}") as (hearer, ear),
    ):
        speaker.send(b"t", b"0")
        await until(lambda: len(ear.heard) == 1)
        proxy.swallow()
        await until(lambda: not hearer.bridge_readiness.is_up)
        speaker.send(b"t", b"1")
        await speaker.flush(PATIENCE)
        proxy.cut()
        proxy.pass_again()
        await until(lambda: hearer.bridge_readiness.is_up)
        speaker.send(b"t", b"2")
        await until(lambda: ear.heard[-1] == b"2")
        assert ear.lost_count == 3 - len(ear.heard)
        assert (0, 0) in ear.losses


async def test_a_loss_is_told_to_all_processes_of_the_host(server: Valkey) -> None:
    hub = Hub()
    async with (
        listening(server.url, outgoing=1 << 10) as (speaker, _),
        listening(server.url, hub=hub, host=HOST) as (_, ear),
        listening(server.url, hub=hub, host=HOST, is_bridge=False) as (_, other),
    ):
        speaker.send(b"t", b"first")
        await until(lambda: len(other.heard) == 1)
        for _ in range(20):
            speaker.send(b"t", bytes(100))  # more than a turn may hold
        speaker.send(b"t", b"last")
        await until(lambda: b"last" in ear.heard and b"last" in other.heard)
        assert ear.heard == other.heard
        assert ear.losses == other.losses
        assert len(ear.heard) + ear.lost_count == 22
        assert ear.lost_count == speaker.counters()["redis_dropped"] > 0


async def test_clusters_with_other_prefixes_hear_nothing(server: Valkey) -> None:
    async with (
        listening(server.url, prefix="one:") as (one, _),
        listening(server.url, prefix="one:") as (_, same),
        listening(server.url, prefix="two:") as (two, other),
    ):
        one.send(b"t", b"1")
        await until(lambda: same.heard == [b"1"])
        two.send(b"t", b"2")
        await two.flush(PATIENCE)
        await one.flush(PATIENCE)
        assert other.heard == []
        assert same.heard == [b"1"]


async def test_what_somebody_else_publishes_on_the_channel_does_no_harm(server: Valkey) -> None:
    async with (
        listening(server.url) as (speaker, _),
        listening(server.url) as (hearer, ear),
    ):
        good = envelope.pack(b"12345678", 1, 0, [(b"t", b"x" * 50)])
        connection = speaker._publisher._connect()
        bad = [b"", b"hello", b"\0" * 100, good[:-1], good + b"x", b"\2" + good[1:]]
        for payload in bad:
            await connection.call("PUBLISH", "tercio:bus", payload)
        speaker.send(b"t", b"fine")
        await until(lambda: ear.heard == [b"fine"])
        assert hearer.counters()["redis_malformed"] == len(bad)


async def test_a_thread_without_a_loop_publishes_at_once(server: Valkey) -> None:
    async with listening(server.url) as (_, ear):

        def script() -> None:
            bus = RedisBus(Address.parse(server.url), local=LocalBus())
            for number in numbers(0, 100):
                bus.send(b"t", number)
            bus.close()

        thread = threading.Thread(target=script)
        thread.start()
        await until(lambda: len(ear.heard) == 100)
        assert ear.heard == numbers(0, 100)
        await asyncio.to_thread(thread.join)


async def test_messages_of_a_thread_and_of_the_loop_keep_their_order(server: Valkey) -> None:
    async with (
        listening(server.url) as (speaker, _),
        listening(server.url) as (_, ear),
    ):

        def speak() -> None:
            for number in numbers(0, 2000):
                speaker.send(b"t", number)

        thread = threading.Thread(target=speak)
        thread.start()
        await until(lambda: len(ear.heard) == 2000)
        thread.join()
        assert ear.heard == numbers(0, 2000)


async def test_a_message_that_is_too_large_is_refused_at_the_call(server: Valkey) -> None:
    async with listening(server.url) as (bus, _):
        with pytest.raises(MessageTooLarge):
            bus.send(b"t", bytes(LARGEST + 1))


def test_the_id_of_a_host_has_eight_bytes() -> None:
    with pytest.raises(ConfigError):
        RedisBus(Address.parse("unix:///nowhere"), local=LocalBus(), host=b"short")


async def test_the_next_process_takes_over_when_the_bridge_leaves(
    server: Valkey, tmp_path: Path
) -> None:
    hub, path = Hub(), str(tmp_path / "bridge")
    async with (
        listening(server.url) as (speaker, _),
        listening(server.url, hub=hub, host=HOST, bridge_file=path) as (one, _),
        listening(server.url, hub=hub, host=HOST, bridge_file=path, is_bridge=False) as (two, ear),
    ):
        await until(lambda: one.bridge_readiness.is_up)
        speaker.send(b"t", b"0")
        await until(lambda: ear.heard == [b"0"])
        assert not two.is_bridge
        one.close()
        assert not one.is_bridge
        await until(lambda: two.bridge_readiness.is_up)
        assert (0, 0) in ear.losses
        speaker.send(b"t", b"1")
        await until(lambda: ear.heard == [b"0", b"1"])


async def test_a_killed_bridge_is_followed_at_once(server: Valkey, tmp_path: Path) -> None:
    path = tmp_path / "bridge"
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, path], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            async with listening(server.url, is_bridge=False) as (bus, _):
                election = Election(str(path), bus)
                election.start()
                await bus.flush(PATIENCE)
                assert not bus.is_bridge
                other.kill()
                await until(lambda: bus.bridge_readiness.is_up)
                election.stop()
        finally:
            other.kill()
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


async def test_a_server_without_resp3_will_do(make_server: MakeServer) -> None:
    server = make_server("--rename-command", "HELLO", "", "--requirepass", "secret")
    url = f"unix://:secret@{server.path}"
    async with listening(url) as (speaker, _), listening(url) as (_, ear):
        for number in numbers(0, 100):
            speaker.send(b"t", number)
        await until(lambda: ear.heard == numbers(0, 100))


def test_a_script_may_run_several_loops(server: Valkey) -> None:
    bus = RedisBus(Address.parse(server.url), local=LocalBus())

    async def speak(number: int) -> None:
        bus.start(Ear())
        bus.send(b"t", b"%d" % number)
        await bus.flush(PATIENCE)
        bus.stop_receiving()

    async def listen() -> None:
        async with listening(server.url) as (_, ear):
            for number in range(3):
                await asyncio.to_thread(asyncio.run, speak(number))
            await until(lambda: ear.heard == numbers(0, 3))

    asyncio.run(listen())
    bus.close()
