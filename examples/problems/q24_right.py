"""Q24: each worker hears what another one publishes; nothing passes the primary.

/flood?count=2000&size=100   publishes so many messages, in bursts
/heard                       the report of one worker that has heard the last of them

tercio run examples.problems.q24_right:app -w 4
"""

import asyncio
import json
import os
from typing import cast

from examples.problems.plain import application

from tercio import cluster
from tercio.bus.mailbox import Policy

POLICY = cast("Policy", os.environ.get("Q24_POLICY", "drop-oldest"))
"""What happens to a worker that is slow: it misses messages, or "block": `send` waits for it."""

BURST = 20  # messages between two turns of the event loop

reports = cluster.state.queue("reports")


async def listen() -> None:
    """Hear all messages, and report when the last one has come."""
    async with cluster.bus.subscribe("flood.*", own=False, policy=POLICY) as messages:
        heard, missed, last, in_order = 0, 0, -1, True
        async for topic, message in messages.items():
            if topic == "flood.message":
                number = cast("list[int]", message)[0]
                in_order = in_order and number > last
                heard, last = heard + 1, number
                continue
            lost = messages.gaps + messages.dropped
            report = {
                "slot": cluster.worker.slot,
                "heard": heard,
                "missed": lost - missed,
                "in_order": in_order,
            }
            heard, missed, last, in_order = 0, lost, -1, True
            await reports.put(report)


async def flood(count: str = "2000", size: str = "100", pause: str = "0") -> str:
    """Publish; ``pause`` is in seconds, after each burst."""
    body = bytes(int(size))
    for number in range(int(count)):
        await cluster.bus.send("flood.message", [number, body], own=False, timeout=30)
        if number % BURST == BURST - 1:
            await asyncio.sleep(float(pause))
    cluster.bus.publish("flood.end", None, own=False)
    return f"{cluster.worker.slot}"


async def heard() -> str:
    return json.dumps(await reports.get(timeout=30))


app = application({"/flood": flood, "/heard": heard}, listen)
