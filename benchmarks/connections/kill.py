"""What does the SIGKILL of a worker cost under load?

32 clients keep their connections, 32 open one a request. Each worker that was there at the start is
killed, one after the other, as soon as the one before it is replaced.
"""

import asyncio
import os
import signal
import time

from benchmarks.connections.client import Target
from benchmarks.connections.load import Load
from benchmarks.connections.outcome import Figure, Outcome, Plan, milliseconds
from benchmarks.connections.servers import Running

CLIENTS = 32  # of each kind
LONGEST = 20.0  # seconds for a replacement


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    victims = sorted(server.pids())[: 2 if plan.is_quick else None]
    async with Load(target, kept=CLIENTS, fresh=CLIENTS) as load:
        for victim in victims:
            await asyncio.sleep(1)
            os.kill(victim, signal.SIGKILL)
            await _until_replaced(server, victim)
        await asyncio.sleep(1)
    kills = len(victims)
    lost = load.kept.ended_idle + load.kept.cut
    figures = {
        "kept connections lost a kill": Figure(lost / kills, 1, CLIENTS),
        "failed a kill, kept": Figure(load.kept.failed / kills, 1),
        "failed a kill, connection a request": Figure(load.fresh.failed / kills, 1),
        "mixed up": Figure(load.kept.mixed + load.fresh.mixed),
        "worst answer, ms": milliseconds(max(load.kept.worst, load.fresh.worst)),
        "answers": Figure(len(load.kept.answers) + len(load.fresh.answers)),
    }
    return Outcome(figures, load.kept.failures + load.fresh.failures)


async def _until_replaced(server: Running, victim: int) -> None:
    deadline = time.monotonic() + LONGEST
    while victim in (pids := server.pids()) or len(pids) < server.workers:
        if time.monotonic() > deadline:
            raise RuntimeError("a killed worker was not replaced")
        await asyncio.sleep(0.02)
