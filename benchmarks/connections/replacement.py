"""Does a worker that replaces a killed one get its share?

32 clients keep their connections; one worker is killed. Counted is the replacement's share of the
answers in the last of the first two, and in the last of the first seven seconds after it was ready.
"""

import asyncio
import os
import signal
import time

from benchmarks.connections.client import Target
from benchmarks.connections.load import Load
from benchmarks.connections.outcome import Figure, Outcome, Plan
from benchmarks.connections.servers import Running

CLIENTS = 32
LONGEST = 20.0  # seconds for a replacement


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    lasting = 4.0 if plan.is_quick else 7.0
    async with Load(target, kept=CLIENTS) as load:
        await asyncio.sleep(1)
        before = server.pids()
        began = time.monotonic()
        os.kill(min(before), signal.SIGKILL)
        while not (new := server.pids() - before):
            if time.monotonic() - began > LONGEST:
                raise RuntimeError("the killed worker was not replaced")
            await asyncio.sleep(0.02)
        ready = time.monotonic()
        await asyncio.sleep(lasting)
    figures = {"replaced after, s": Figure(ready - began, 1)}
    for end in (2.0, lasting):
        until = ready + end
        window = [s.pid in new for s in load.kept.answers if until - 1 < s.ended <= until]
        share = 100 * sum(window) / max(1, len(window))
        figures[f"share at {end:.0f} s, %"] = Figure(share, 1)
    figures["even share, %"] = Figure(100 / server.workers, 1)
    return Outcome(figures, load.kept.failures)
