"""How long is the tail, if one request in twenty blocks its worker for 50 ms?

400 requests a second at times that were fixed before, on 64 kept connections and then with a
connection a request. Waits count from those times; those of the blocking requests are left out.
"""

import asyncio
import random
import time
from collections import Counter, deque

from benchmarks.connections.client import Connection, Dropped, Mixed, Target
from benchmarks.connections.load import Lateness
from benchmarks.connections.outcome import Figure, Outcome, Plan, milliseconds
from benchmarks.connections.servers import Running

RATE = 400  # requests a second
KEPT = 64
SHARE = 0.05


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    seconds = 2 if plan.is_quick else 5
    failures: Counter[str] = Counter()
    figures = {}
    async with Lateness() as lateness:
        for kind in ("kept", "connection a request"):
            if kind != "kept" and target.tls:
                # The client's handshakes would be what is measured.
                waits = None
            else:
                waits = await _ask(target, seconds, kind == "kept", failures)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
                figures[f"{kind}, {name} ms"] = _quantile(waits, share)
    figures["failed"] = Figure(failures.total())
    figures["client late, ms"] = milliseconds(lateness.worst)
    return Outcome(figures, failures)


def _quantile(waits: list[float] | None, share: float) -> Figure:
    if not waits:
        return Figure(None)
    return Figure(1000 * waits[min(len(waits) - 1, int(share * len(waits)))], 1)


async def _ask(target: Target, seconds: float, keeps: bool, failures: Counter[str]) -> list[float]:
    waits: list[float] = []
    idle: deque[Connection] = deque()
    free = asyncio.Semaphore(KEPT)
    if keeps:
        idle.extend(connection for connection, _ in await Connection.open_all(target, KEPT))

    async def one(due: float) -> None:
        path = "/slow" if random.random() < SHARE else "/"
        async with free if keeps else asyncio.Semaphore():
            connection = idle.popleft() if keeps else None
            try:
                if connection is None or connection.is_lost:
                    connection = await Connection.open(target)
                answer = await connection.get(path, close=not keeps)
                if path == "/":
                    waits.append(time.monotonic() - due)
                if answer.closes or not keeps:
                    connection.close()
            except (Dropped, Mixed) as error:
                failures[str(error)] += 1
                if connection is not None:
                    connection.close()
            if keeps:
                assert connection is not None
                idle.append(connection)

    began = time.monotonic() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(round(RATE * seconds)):
            await asyncio.sleep(max(0, began + number / RATE - time.monotonic()))
            group.create_task(one(began + number / RATE))
    for connection in idle:
        connection.close()
    return sorted(waits)
