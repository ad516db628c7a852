"""Jobs that one worker runs for all: a counter each second, a report at night, an index once.

    tercio run examples.nightly:app --workers 4

``/`` tells how often each has run, and ``tercio status`` when they run next.
"""

import json
from typing import Any

from tercio import cluster
from tercio.jobs import Run


@cluster.every(1, name="tick", jitter=0.1)
async def tick(run: Run) -> None:
    """Count the seconds, once each, however many workers there are."""
    await cluster.state.incr("ticks")


@cluster.cron("0 3 * * *", tz="Europe/Berlin", name="report", timeout=600, drain="handover")
def report() -> None:
    """A plain function runs in a thread; a reload hands it over to a new worker."""
    cluster.sync.state.incr("reports")


@cluster.once(name="build index", key="v1")
async def build_index() -> None:
    """Runs again when its key is another one."""
    await cluster.state.incr("builds")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Show the counts."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    names = ("ticks", "reports", "builds")
    counts = dict(zip(names, await cluster.state.mget(*names), strict=True))
    body = json.dumps(counts).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
