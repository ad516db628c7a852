"""The adapters in several workers at once: what they count is exact, on both engines."""

import json
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tercio.testing import Running, workers
from tests.engines.redis.valkey import Valkey

APP = """
import asyncio
import json
import limits
from channels.layers import channel_layers
from django.conf import settings
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
from limits.storage import storage_from_string
from tercio import cluster
from tercio.integrations.cachelib import TercioCache
import tercio.integrations.limits

settings.configure(
    CACHES={"default": {"BACKEND": "tercio.integrations.django.TercioCache"}},
    CHANNEL_LAYERS={
        "default": {"BACKEND": "tercio.integrations.channels.TercioChannelLayer"}
    },
)
from django.core.cache import cache

library = TercioCache()
storage = storage_from_string("async+tercio://")
limiters = {"fixed": FixedWindowRateLimiter(storage), "moving": MovingWindowRateLimiter(storage)}
limit = limits.parse("100/hour")
layer = channel_layers["default"]
heard = 0


async def listen():
    global heard
    channel = await layer.new_channel()
    await layer.group_add("all", channel)
    cluster.bus.publish("listening", 1)
    while True:
        await layer.receive(channel)
        heard += 1


async def answer(path):
    match path.strip("/").split("/"):
        case ["limit", kind]:
            return await limiters[kind].hit(limit, "one")
        case ["django"]:
            await cache.aadd("count", 0)
            return await cache.aincr("count")
        case ["cachelib"]:
            return await asyncio.to_thread(library.inc, "count")
        case ["say"]:
            await layer.group_send("all", {"type": "said"})
        case ["listeners"]:
            return len(await layer._space.state.group("all").members())
    return [cluster.worker.id, heard]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        listening = asyncio.create_task(listen())
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = json.dumps(await answer(scope["path"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
WORKERS = 3
MOST = 400


@pytest.fixture(params=["embedded", "redis"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "adapters.py").write_text(APP)
    with ExitStack() as stack:
        options: tuple[str, ...] = ()
        if request.param == "redis":
            # A Unix socket's path has to be short.
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            valkey = Valkey(Path(directory))
            stack.callback(valkey.kill)
            options = ("--redis", valkey.url, "--redis-required")
        yield stack.enter_context(workers("adapters:app", WORKERS, *options, cwd=tmp_path))


def test_all_workers_count_together(running: Running) -> None:
    def ask(path: str) -> Any:
        with urllib.request.urlopen(running.url + path, timeout=60) as answer:
            return json.load(answer)

    with ThreadPoolExecutor(8) as threads:
        for kind in ("fixed", "moving"):
            assert Counter(threads.map(ask, [f"/limit/{kind}"] * 150)) == {True: 100, False: 50}
        for cache in ("/django", "/cachelib"):
            counted = sorted(threads.map(ask, [cache] * 100))
            assert counted == list(range(1, 101))
        # A message to a group comes to each of its channels once, at whichever worker.
        while ask("/listeners") < WORKERS:
            pass
        list(threads.map(ask, ["/say"] * 20))
    heard: dict[str, int] = {}
    for _ in range(MOST):
        worker, number = ask("/heard")
        heard[worker] = number
        if list(heard.values()) == [20] * WORKERS:
            break
    assert list(heard.values()) == [20] * WORKERS
