"""What does Redis cost with our client, beside redis-py? Same server, rounds in turn.

"lean" is the least that INCR can cost in Python: hiredis, one write a turn, no time-outs.
INCR from one process, one after another and from 16 tasks: operations a second of the client's CPU.
Messages of 100 bytes from one process to three: delivered a second, and CPU of all four processes.
redis-py publishes in pipelines of 32, ours 32 messages a turn of the loop; both have the same
window of messages that are not delivered yet. Every process runs on uvloop.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import uvloop
from benchmarks.dataplane import servers
from benchmarks.dataplane.stores import LeanRedis
from benchmarks.dataplane.table import header, row, spread

RECEIVERS = 3
BATCH = 32
WINDOW = 16_384
BODY = bytes(100)
STOP, LATE, CPU = range(RECEIVERS, RECEIVERS + 3)  # words after those of the receivers

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Result:
    """One round of one way."""

    rate: float
    """Operations or deliveries a second."""
    cost: float
    """CPU microseconds of ours for each, without the server's."""


# INCR


async def incr_redis_py(path: str, tasks: int, seconds: float) -> Result:
    from redis.asyncio import Redis

    client = Redis(unix_socket_path=path)

    async def step() -> None:
        await client.incr("n")

    try:
        return await _operations(step, tasks, seconds)
    finally:
        await client.aclose()


async def incr_tercio(path: str, tasks: int, seconds: float) -> Result:
    from tercio.engines.redis.state import RedisState
    from tercio.engines.redis.url import Address
    from tercio.state.verbs import Incr

    engine = RedisState(Address.parse(f"unix://{path}"))

    async def step() -> None:
        await engine.run(Incr(b"n"))

    try:
        return await _operations(step, tasks, seconds)
    finally:
        await engine.close()


async def incr_lean(path: str, tasks: int, seconds: float) -> Result:
    client = LeanRedis()
    client.__dict__["_path"] = path
    await client.open()

    async def step() -> None:
        await client.incr("n")

    return await _operations(step, tasks, seconds)


async def _operations(step: Callable[[], Awaitable[None]], tasks: int, seconds: float) -> Result:
    await step()
    done = 0
    began, cpu = time.perf_counter(), time.process_time()
    end = began + seconds

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < end:
            for _ in range(20):
                await step()
            done += 20

    await asyncio.gather(*(loop() for _ in range(tasks)))
    spent, took = time.process_time() - cpu, time.perf_counter() - began
    return Result(done / took, spent / done * 1e6)


_INCRS = {"redis-py": incr_redis_py, "tercio": incr_tercio, "lean": incr_lean}


def _incr(way: str, path: str, tasks: int, seconds: float, answer: Any) -> None:
    answer.put(uvloop.run(_INCRS[way](path, tasks, seconds)))


# Messages


async def hear_redis_py(path: str, words: Any, me: int, ready: Any) -> None:
    from redis.asyncio import Redis

    client = Redis(unix_socket_path=path)
    pubsub = client.pubsub()
    await pubsub.subscribe("t")
    await pubsub.get_message(timeout=None)
    ready.wait()
    cpu = time.process_time()
    count = 0
    while not words[STOP]:
        message = await pubsub.get_message(timeout=0.1)
        if message is not None and message["data"].__class__ is bytes:
            count += 1
            if not count % BATCH:
                words[me] = count
    words[CPU + me] = int((time.process_time() - cpu) * 1e9)
    await pubsub.aclose()
    await client.aclose()


async def speak_redis_py(path: str, words: Any, seconds: float, ready: Any) -> tuple[float, float]:
    from redis.asyncio import Redis

    client = Redis(unix_socket_path=path)
    await client.ping()

    async def publish() -> None:
        pipeline = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipeline.publish("t", BODY)
        await pipeline.execute()

    try:
        return await _speak(publish, words, seconds, ready)
    finally:
        await client.aclose()


async def hear_tercio(path: str, words: Any, me: int, ready: Any) -> None:
    bus = _bus(path)
    count = 0

    def take(body: bytes) -> None:
        nonlocal count
        count += 1
        if not count % BATCH:
            words[me] = count

    bus.start(_Ear({b"t": take}))
    while not bus.bridge_readiness.is_up:
        await asyncio.sleep(0.001)
    ready.wait()
    cpu = time.process_time()
    while not words[STOP]:
        await asyncio.sleep(0.02)
    words[CPU + me] = int((time.process_time() - cpu) * 1e9)
    bus.close()


async def speak_tercio(path: str, words: Any, seconds: float, ready: Any) -> tuple[float, float]:
    bus = _bus(path)
    bus.start(_Ear({}))
    while not bus.readiness.is_up:
        await asyncio.sleep(0.001)

    async def publish() -> None:
        for _ in range(BATCH):
            bus.send(b"t", BODY, own=False)
        await asyncio.sleep(0)

    try:
        return await _speak(publish, words, seconds, ready)
    finally:
        bus.close()


class _Ear:
    """A receiver of one topic."""

    wants_own = False
    own_routes: dict[bytes, Callable[[bytes], None] | None] = {}

    def __init__(self, routes: dict[bytes, Callable[[bytes], None] | None]) -> None:
        self.routes = routes

    def lost(self, count: int, sender: int) -> None:
        if count:
            raise RuntimeError(f"{count} messages were lost")


def _bus(path: str) -> Any:
    from tercio.engines.local.bus import LocalBus
    from tercio.engines.redis.bus import RedisBus
    from tercio.engines.redis.url import Address

    return RedisBus(Address.parse(f"unix://{path}"), local=LocalBus())


async def _speak(
    publish: Callable[[], Awaitable[None]], words: Any, seconds: float, ready: Any
) -> tuple[float, float]:
    """Publish as fast as the window allows; seconds that it took, and CPU seconds."""
    ready.wait()
    sent = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        while sent - min(words[:RECEIVERS]) > WINDOW:
            await asyncio.sleep(0.0005)
        await publish()
        sent += BATCH
    while min(words[:RECEIVERS]) < sent:  # all must have come, or the round says nothing
        await asyncio.sleep(0.0005)
        if time.perf_counter() - began > seconds + 20:
            raise RuntimeError("messages were lost")
    took = time.perf_counter() - began
    return took, time.process_time() - cpu


def _hear(way: str, path: str, words: Any, me: int, ready: Any) -> None:
    uvloop.run((hear_tercio if way == "tercio" else hear_redis_py)(path, words, me, ready))


def _say(way: str, path: str, words: Any, seconds: float, ready: Any, answer: Any) -> None:
    speak = speak_tercio if way == "tercio" else speak_redis_py
    try:
        answer.put(uvloop.run(speak(path, words, seconds, ready)))
    finally:
        words[STOP] = 1


def measure_incr(way: str, path: str, tasks: int, seconds: float) -> Result:
    answer = _spawn.SimpleQueue()
    process = _spawn.Process(target=_incr, args=(way, path, tasks, seconds, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{way} failed")
    result: Result = answer.get()
    return result


def measure_messages(way: str, path: str, seconds: float) -> Result:
    words = RawArray("Q", CPU + RECEIVERS)
    ready, answer = _spawn.Barrier(RECEIVERS + 1), _spawn.SimpleQueue()
    hearers = [
        _spawn.Process(target=_hear, args=(way, path, words, me, ready)) for me in range(RECEIVERS)
    ]
    speaker = _spawn.Process(target=_say, args=(way, path, words, seconds, ready, answer))
    for process in (*hearers, speaker):
        process.start()
    for process in (speaker, *hearers):
        process.join()
        if process.exitcode:
            raise SystemExit(f"{way} failed")
    took, cpu = answer.get()
    delivered = sum(words[:RECEIVERS])
    spent = cpu + sum(words[CPU : CPU + RECEIVERS]) / 1e9
    return Result(delivered / took, spent / delivered * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    measures: dict[str, Callable[[str, str], Result]] = {
        "INCR, one at a time": lambda way, path: measure_incr(way, path, 1, options.seconds),
        "INCR, 16 tasks": lambda way, path: measure_incr(way, path, 16, options.seconds),
        f"messages, 1 to {RECEIVERS}, 100 B": lambda way, path: measure_messages(
            way, path, options.seconds
        ),
    }
    results: dict[tuple[str, str], list[Result]] = {}
    with tempfile.TemporaryDirectory() as directory:
        server = servers.RespServer(Path(directory))
        try:
            for _ in range(options.rounds):
                for name, measure in measures.items():
                    for way in ("redis-py", "tercio", *(["lean"] if "INCR" in name else [])):
                        result = measure(way, str(server.path))
                        results.setdefault((name, way), []).append(result)
        finally:
            server.close()
    print(f"redis-py {version('redis')}, hiredis {version('hiredis')}, {servers.version()}")
    print(f"{options.rounds} rounds of {options.seconds:g} s; median (least-most)\n")
    columns = ("", "redis-py /s", "tercio /s", "times", "redis-py CPU µs", "tercio CPU µs", "times")
    print("\n".join(header((*columns, "lean CPU µs"))))
    for name in measures:
        theirs, ours = results[name, "redis-py"], results[name, "tercio"]
        lean = [one.cost for one in results.get((name, "lean"), [])]
        print(
            row(
                name,
                f"{statistics.median(one.rate for one in theirs):,.0f}",
                f"{statistics.median(one.rate for one in ours):,.0f}",
                _ratios([own.rate / other.rate for own, other in _pairs(ours, theirs)]),
                f"{statistics.median(one.cost for one in theirs):.1f}",
                f"{statistics.median(one.cost for one in ours):.2f}",
                _ratios([other.cost / own.cost for own, other in _pairs(ours, theirs)]),
                f"{statistics.median(lean):.2f}" if lean else "",
            )
        )


def _pairs(ours: Sequence[Result], theirs: Sequence[Result]) -> list[tuple[Result, Result]]:
    return list(zip(ours, theirs, strict=True))


def _ratios(values: Sequence[float]) -> str:
    return f"{spread(values)} x"


if __name__ == "__main__":
    main()
