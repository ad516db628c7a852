"""How evenly do long-lived connections lie on the workers, at several rates of arrival?

Each connection asks once, to learn its worker, and stays. Behind nginx the connections end at the
proxy: then it is the requests that are counted.
"""

import asyncio
import time
from collections import Counter

from benchmarks.connections.client import Connection, Dropped, Mixed, Target
from benchmarks.connections.outcome import Figure, Outcome, Plan, Range
from benchmarks.connections.servers import Running

ARRIVALS = ((200, 100), (200, 2000), (2000, 500), (2000, 4000))  # connections, a second
QUICK = ((200, 200), (2000, 2000))
_REST = 0.5  # seconds in which the server learns that the connections before are gone


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    figures: dict[str, Figure] = {}
    failures: Counter[str] = Counter()
    widest = 0.0
    for count, rate in QUICK if plan.is_quick else ARRIVALS:
        seen = await _open(target, count, rate, failures)
        each = [seen.get(pid, 0) for pid in server.pids()]
        figures[f"{count:,} at {rate:,}/s"] = Figure(Range(min(each), max(each)))
        widest = max(widest, (max(each) - min(each)) / (sum(each) / len(each)))
        await asyncio.sleep(_REST)
    figures["widest, % of the mean"] = Figure(100 * widest)
    figures["failed"] = Figure(failures.total())
    return Outcome(figures, failures)


async def _open(target: Target, count: int, rate: int, failures: Counter[str]) -> Counter[int]:
    seen: Counter[int] = Counter()
    held: list[Connection] = []
    began = time.monotonic()

    async def one() -> None:
        try:
            connection = await Connection.open(target)
            held.append(connection)
            seen[(await connection.get()).pid] += 1
        except (Dropped, Mixed) as error:
            failures[str(error)] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            if (ahead := began + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one())
    for connection in held:
        connection.close()
    return seen
