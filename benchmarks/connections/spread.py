"""How evenly do long-lived connections lie on the workers, at several rates of arrival?

Each connection asks once, to learn its worker, and once more two seconds after the last one has
come: some servers move them. Behind nginx the connections end at the proxy: then it is requests
that are counted.
"""

import asyncio
import time
from collections import Counter

from benchmarks.connections.client import Connection, Dropped, Mixed, Target
from benchmarks.connections.outcome import Figure, Outcome, Plan, Range
from benchmarks.connections.servers import Running

ARRIVALS = ((200, 100), (200, 2000), (2000, 500), (2000, 4000))  # connections, a second
QUICK = ((200, 200), (2000, 2000))
LATER = 2.0  # seconds
_REST = 0.5  # seconds in which the server learns that the connections before are gone
_ASKING_RATE = 2000  # requests a second that ask where the connections are now


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    figures: dict[str, Figure] = {}
    failures: Counter[str] = Counter()
    widest = 0.0
    for count, rate in QUICK if plan.is_quick else ARRIVALS:
        held = await _open(target, count, rate, failures)
        title = f"{count:,} at {rate:,}/s"
        pids = server.pids()
        least, most = _bounds(Counter(pid for _, pid in held), pids)
        figures[title] = Figure(Range(least, most))
        widest = max(widest, 100 * (most - least) * len(pids) / count)
        await asyncio.sleep(LATER)
        figures[f"{title}, {LATER:.0f} s later"] = Figure(
            Range(*_bounds(await _ask(held, failures), pids))
        )
        for connection, _ in held:
            connection.close()
        await asyncio.sleep(_REST)
    figures["widest at first, % of the mean"] = Figure(widest)
    figures["failed"] = Figure(failures.total())
    return Outcome(figures, failures)


def _bounds(seen: Counter[int], pids: set[int]) -> tuple[int, int]:
    each = [seen[pid] for pid in pids]
    return min(each), max(each)


async def _open(
    target: Target, count: int, rate: int, failures: Counter[str]
) -> list[tuple[Connection, int]]:
    """Connections, each with the worker that answers it."""
    held: list[tuple[Connection, int]] = []

    async def one() -> None:
        try:
            connection = await Connection.open(target)
            held.append((connection, (await connection.get()).pid))
        except (Dropped, Mixed) as error:
            failures[str(error)] += 1

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            if (ahead := began + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one())
    return held


async def _ask(held: list[tuple[Connection, int]], failures: Counter[str]) -> Counter[int]:
    """Where the connections are now; one that was closed meanwhile has failed."""
    seen: Counter[int] = Counter()

    async def one(connection: Connection) -> None:
        try:
            seen[(await connection.get()).pid] += 1
        except (Dropped, Mixed) as error:
            failures[str(error)] += 1

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number, (connection, _) in enumerate(held):
            if (ahead := began + number / _ASKING_RATE - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one(connection))
    return seen
