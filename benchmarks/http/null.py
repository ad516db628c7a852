"""What do the applications cost by themselves? Each request a task, its answer thrown away.

    .venv-bench/bin/python -m benchmarks.http.null

The rest of what a request costs in a server (`measure`) is the server's and the kernel's: no server
can do more requests a CPU second than what this leaves room for.
"""

import asyncio
import gc
import statistics
import time
from typing import Any

import uvloop
from benchmarks.http.scenarios import BARE, SHOP

from tercio.servers.lifespan import Lifespan
from tercio.worker.importer import load

AT_ONCE = 64  # requests a turn of the loop, as many as the scenarios have connections
TURNS, ROUNDS = 100, 15

_SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 40000),
    "scheme": "http",
    "root_path": "",
    "extensions": {},
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1:8000")],
    "state": {},
}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    pass


async def cost(target: str) -> list[float]:
    """Microseconds of CPU time a request, in each round."""
    app: Any = load(target)
    lifespan = Lifespan(app, "auto")
    await lifespan.start()
    gc.freeze()  # as a worker does
    gc.set_threshold(2000, 10, 10)
    costs = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(TURNS):
            await asyncio.wait(
                [asyncio.create_task(app(_SCOPE.copy(), receive, send)) for _ in range(AT_ONCE)]
            )
        costs.append(1e6 * (time.thread_time() - begun) / (TURNS * AT_ONCE))
    await lifespan.stop()
    return costs


if __name__ == "__main__":
    for title, target in (("plaintext", BARE), ("FastAPI, JSON", SHOP)):
        costs = uvloop.run(cost(target))
        print(f"{title}: {statistics.median(costs):.1f} ({min(costs):.1f}-{max(costs):.1f}) µs")
