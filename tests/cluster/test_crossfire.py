"""Four workers that all publish to all: in order, whole, and every message came or was counted."""

import json
import time
from typing import Any

import pytest

from tests.cluster.chaos.tiers import SLACK, TIER, trials
from tests.cluster.harness import PATIENCE, QUICK, Cluster

WORKERS = 4
MESSAGES = {"quick": 100_000, "full": 1_000_000, "extreme": 10_000_000}
"""By all of them; each is received by all."""

APP = """
import asyncio, json, os, pathlib, random, zlib
from tercio import cluster

POLICY = os.environ["FIRE_POLICY"]
seen = {"pid": os.getpid(), "got": 0, "corrupt": 0, "disorder": 0, "published": 0, "last": {}}

def own_memory():
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024

async def publish(count):
    slot, chance = cluster.worker.slot, random.Random(cluster.worker.slot)
    for number in range(1, count + 1):
        body = chance.randbytes(chance.randrange(20, 300))
        message = (slot, number, zlib.crc32(body), body)
        if POLICY == "block":
            await cluster.bus.send("fire.shot", message, timeout=60.0)
        else:
            cluster.bus.publish("fire.shot", message)
        if number % 20 == 0:
            await asyncio.sleep(0)
        seen["published"] = number

async def take(messages):
    seen["before"] = seen["most"] = own_memory()
    async for slot, number, total, body in messages:
        seen["got"] += 1
        seen["corrupt"] += zlib.crc32(body) != total
        seen["disorder"] += number <= seen["last"].get(slot, 0)
        seen["last"][slot] = number
        if seen["got"] % 1000 == 0:
            seen["most"] = max(seen["most"], own_memory())

tasks, subscriptions = [], []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        subscriptions.append(cluster.bus.subscribe("fire.shot", policy=POLICY))
        tasks.append(asyncio.create_task(take(subscriptions[0])))
        cluster.bus.on("fire.go", lambda topic, count: tasks.append(
            asyncio.create_task(publish(count))))
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                for task in tasks:
                    task.cancel()
                return
    if scope["path"] == "/go":
        cluster.bus.publish("fire.go", int(scope["query_string"]))
    for task in tasks:
        if task.done():
            task.result()
    counts = {name: getattr(subscriptions[0], name) for name in ("gaps", "unknown_gaps", "dropped")}
    body = json.dumps({**seen, **counts}).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.chaos("C24")
@pytest.mark.parametrize("policy", ["block", "drop-oldest"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_four_publish_to_four_comes_in_order_or_is_counted(
    cluster: Cluster, policy: str, loop: str
) -> None:
    cluster.write_app(APP)
    cluster.environ["FIRE_POLICY"] = policy
    cluster.start("-w", str(WORKERS), "--loop", loop, *QUICK)
    each = MESSAGES[TIER] // WORKERS
    for _ in trials(f"C24 {policy}, {loop}, of {MESSAGES[TIER]} messages", 1, 1, 1):
        began = time.monotonic()
        cluster.get(f"/go?{each}")
        reports = reports_of_all(cluster, each * WORKERS)
        took = time.monotonic() - began
    got = sum(report["got"] for report in reports)
    growth = max(report["most"] - report["before"] for report in reports)
    print(
        f"{policy}, {loop}: {each * WORKERS} published, {got} received in {took:.1f} s, "
        f"{sum(report['gaps'] for report in reports)} gaps, "
        f"{sum(report['dropped'] for report in reports)} dropped, +{growth >> 10} KiB"
    )
    for report in reports:
        assert report["published"] == each
        assert (report["corrupt"], report["disorder"], report["unknown_gaps"]) == (0, 0, 0)
        if policy == "block":
            assert (report["got"], report["gaps"], report["dropped"]) == (each * WORKERS, 0, 0)
            assert set(report["last"].values()) == {each}
    assert growth < 50 << 20


def reports_of_all(cluster: Cluster, total: int) -> list[dict[str, Any]]:
    """What each worker says when everything came or is known to be lost."""
    limit = time.monotonic() + PATIENCE + total / 1000 * SLACK
    finished: dict[int, dict[str, Any]] = {}
    while len(finished) < WORKERS:
        report = json.loads(cluster.get("/report").text)
        accounted = report["got"] + report["gaps"] + report["dropped"]
        assert accounted <= total, report
        if accounted == total and report["published"]:
            finished[report["pid"]] = report
        assert time.monotonic() < limit, (report, finished)
    return list(finished.values())
