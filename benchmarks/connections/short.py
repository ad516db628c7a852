"""How many connections a second, each of one request? 64 clients in a closed loop (wrk)."""

import asyncio
import shutil

from benchmarks.connections.client import Target
from benchmarks.connections.load import Load
from benchmarks.connections.outcome import Figure, Outcome, Plan
from benchmarks.connections.servers import Running
from benchmarks.http import wrk
from benchmarks.http.work import Work

CLIENTS = 64
_WORK = Work(path="/", answer=b"r0 1 0", connections=CLIENTS, close=True)


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    seconds = 1 if plan.is_quick else 3
    if shutil.which("wrk") is None:  # slower, as the client is Python: the shares still compare
        async with Load(target, fresh=CLIENTS, think=0) as load:
            await asyncio.sleep(seconds)
        rate = len(load.fresh.answers) / seconds
        return Outcome({"connections/s": Figure(rate)}, load.fresh.failures)
    await asyncio.to_thread(wrk.run, _WORK, target.port, 1, cpu=None, tls=target.tls)
    seen = await asyncio.to_thread(wrk.run, _WORK, target.port, seconds, cpu=None, tls=target.tls)
    figures = {
        "connections/s": Figure(seen.answers / seen.seconds),
        "p50, ms": Figure(seen.p50, 1),
        "p99, ms": Figure(seen.p99, 1),
        "failed": Figure(seen.errors, 0, seen.answers),
    }
    return Outcome(figures)
