"""A Redis that dies, stops or falls silent under load: bounds, counts and no answer for another."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.chaos.tiers import SLACK, trials
from tests.cluster.harness import PATIENCE, QUICK, Cluster
from tests.engines.redis.proxy import Proxy
from tests.engines.redis.valkey import Valkey

TIMEOUT = 1.0
RECONNECT = 2.0
CLIENTS = 8

APP = """
import asyncio, json, os, random, time
from tercio import cluster
from tercio.errors import StateBusy, StateUnavailable

heard = {"pid": os.getpid(), "got": 0, "disorder": 0, "first": 0, "last": 0}
spoken = 0
tasks, subscriptions = [], []

async def hear(messages):
    async for number in messages:
        heard["got"] += 1
        heard["disorder"] += number <= heard["last"]
        heard["first"] = heard["first"] or number  # what came before is of nobody's count
        heard["last"] = number

async def speak():
    global spoken
    while True:
        spoken += 1
        cluster.bus.publish("tick.web", spoken)
        await asyncio.sleep(0.005)

async def timed(call, found):
    began = time.monotonic()
    try:
        return await call
    except StateUnavailable as error:
        found["failed"] = str(error)
        found["unknown"] = "nothing was sent" not in str(error)
    except StateBusy as error:
        found["failed"] = str(error)
    finally:
        found["took"] = max(found["took"], time.monotonic() - began)

async def use(key):
    found = {"pid": os.getpid(), "took": 0.0, "cross": 0, "failed": "", "counted": 0, "unknown": 0}
    await timed(cluster.state.set(key, "of " + key, ttl=60.0), found)
    if not found["failed"]:
        # One that is given up at any moment; its answer must not come to the others.
        left = asyncio.create_task(cluster.state.get("left"))
        asyncio.get_running_loop().call_later(random.random() / 2000, left.cancel)
        got = await timed(cluster.state.get(key), found)
        await asyncio.wait([left])
        if not left.cancelled():
            left.exception()
        found["cross"] = not found["failed"] and got != "of " + key
    if not found["failed"]:
        found["unknown"] = 0
        await timed(cluster.state.incr("n"), found)
        found["counted"] = not found["failed"]
    else:
        found["unknown"] = 0
    return found

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        subscriptions.append(cluster.bus.subscribe("tick.*", own=False))
        tasks.append(asyncio.create_task(hear(subscriptions[0])))
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                for task in tasks:
                    task.cancel()
                return
    match scope["path"]:
        case "/use":
            answer = await use(scope["query_string"].decode())
        case "/speak":
            tasks.append(asyncio.create_task(speak()))
            answer = True
        case "/silence":
            tasks[-1].cancel()
            answer = spoken
        case "/count":
            answer = await cluster.state.get("n", 0)
        case _:
            names = ("gaps", "unknown_gaps", "dropped")
            answer = {**heard, **{name: getattr(subscriptions[0], name) for name in names}}
    body = json.dumps(answer).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
"""


@dataclass
class Load:
    """Clients that use the state all the time, and what became of it."""

    port: int
    answers: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """When each came, and what it says."""
    number: int = 0

    async def ask_until(self, is_over: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not is_over.is_set():
            self.number += 1
            writer.write(f"GET /use?key{self.number} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.split()[1] == b"200", head
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            self.answers.append((time.monotonic(), json.loads(await reader.readexactly(length))))
        writer.close()

    async def until(self, is_enough: Callable[[list[dict[str, Any]]], bool]) -> float:
        """Wait until what came from now on is enough; the seconds that took."""
        began, already = time.monotonic(), len(self.answers)
        while not is_enough([answer for _, answer in self.answers[already:]]):
            assert time.monotonic() - began < PATIENCE
            await asyncio.sleep(0.005)
        return time.monotonic() - began


def worked(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether each of the two workers has answered that many times without an error."""

    def is_enough(answers: list[dict[str, Any]]) -> bool:
        good = [answer["pid"] for answer in answers if not answer["failed"]]
        return len(set(good)) == 2 and min(good.count(pid) for pid in set(good)) >= count

    return is_enough


@asynccontextmanager
async def killed(server: Valkey, proxy: Proxy) -> AsyncIterator[None]:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(server.start)
    yield


@asynccontextmanager
async def stopped(server: Valkey, proxy: Proxy) -> AsyncIterator[None]:
    server.stop()
    await asyncio.sleep(5.0)
    server.go_on()
    yield


@asynccontextmanager
async def silent(server: Valkey, proxy: Proxy) -> AsyncIterator[None]:
    proxy.swallow()
    await asyncio.sleep(3.0)
    # What was opened meanwhile is as dead as what was open.
    proxy.cut()
    proxy.pass_again()
    yield


FAULTS = {"killed": killed, "stopped for 5 s": stopped, "half-open": silent}


@pytest.mark.chaos("C30")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_workers_bear_a_redis_that_fails_under_load(
    new_cluster: Callable[[], Cluster], fault: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:  # a Unix socket's path has to be short
        server = Valkey(Path(directory))
        try:
            asyncio.run(play(new_cluster(), new_cluster(), server, fault))
        finally:
            server.kill()


async def play(cluster: Cluster, other: Cluster, server: Valkey, fault: str) -> None:
    async with Proxy(server.path) as proxy:
        proxied = f"redis://127.0.0.1:{proxy.port}"
        urls = {cluster: proxied if fault == "half-open" else server.url, other: server.url}
        for one, workers in ((cluster, "2"), (other, "1")):
            one.write_app(APP)
            options = ("-w", workers, *QUICK, "--redis", urls[one])
            await asyncio.to_thread(one.start, *options)
        before = await asyncio.to_thread(cluster.pids)
        await asyncio.to_thread(other.get, "/speak")
        await asyncio.to_thread(until_told, cluster, 0)
        load, is_over = Load(cluster.port), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(load.ask_until(is_over))
            for number in trials(f"C30 {fault}", 1, 20, 100):
                await load.until(worked(50))
                async with FAULTS[fault](server, proxy):
                    took = await load.until(worked(1))
                assert took < RECONNECT * SLACK, f"found again after {took:.1f} s"
                told = await asyncio.to_thread(until_told, cluster, number + 1)
                await asyncio.to_thread(until_heard, cluster, told)
                status = await asyncio.to_thread(cluster.status)
                assert status["ready"] == 2
                print(f"{fault}: found again after {took:.2f} s")
            is_over.set()
        await asyncio.to_thread(look, cluster, other, load, fault)
        assert await asyncio.to_thread(cluster.pids) == before
        assert not cluster.of("WorkerKilled")


def look(cluster: Cluster, other: Cluster, load: Load, fault: str) -> None:
    """The counts of all of it."""
    answers = [answer for _, answer in load.answers]
    longest = max(answer["took"] for answer in answers)
    failed = [answer["failed"] for answer in answers if answer["failed"]]
    counted = sum(answer["counted"] for answer in answers)
    unknown = sum(answer["unknown"] for answer in answers)
    final = int(cluster.get("/count").text)
    spoken = int(other.get("/silence").text)
    reports = until_told(cluster, 1, spoken)
    print(
        f"{fault}: {len(answers)} answers, {len(failed)} errors, longest call {longest:.2f} s; "
        f"counted {counted}, unknown {unknown}, final {final}; {spoken} messages: {reports}"
    )
    assert not any(answer["cross"] for answer in answers)
    assert longest < TIMEOUT * SLACK
    assert failed
    if fault != "killed":  # that one forgets everything
        assert counted <= final <= counted + unknown
    for report in reports:
        assert report["disorder"] == 0
        assert accounted(report) == spoken


def until_heard(cluster: Cluster, told: list[dict[str, Any]]) -> None:
    """Wait until both have heard something again: only that says how much was lost before it."""
    limit = time.monotonic() + PATIENCE
    waiting = {report["pid"]: report["last"] for report in told}
    while waiting:
        report = json.loads(cluster.get("/report").text)
        if report["last"] > waiting.get(report["pid"], report["last"]):
            del waiting[report["pid"]]
        assert time.monotonic() < limit, (report, waiting)


def until_told(cluster: Cluster, gaps: int, last: int = 0) -> list[dict[str, Any]]:
    """What both workers say when they know of so many losses, and have heard message ``last``."""
    limit = time.monotonic() + PATIENCE
    found: dict[int, dict[str, Any]] = {}
    while len(found) < 2:
        report = json.loads(cluster.get("/report").text)
        if report["unknown_gaps"] >= gaps and report["got"] and accounted(report) >= last:
            found[report["pid"]] = report
        assert time.monotonic() < limit, (report, found)
    return list(found.values())


def accounted(report: dict[str, Any]) -> int:
    """The number of the last message, by what a worker heard and knows to be lost."""
    before = int(report["first"]) - 1
    return before + int(report["got"]) + int(report["gaps"]) + int(report["dropped"])
