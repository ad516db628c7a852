"""Are requests stuck behind a worker whose event loop is blocked?

One worker is blocked for 5 s. From 0.2 s later on, for 4 s: 200 new connections, 50 a second, and
32 kept ones that were there before, each asking four times a second, at times that were fixed
before; who still waits for an answer skips its turn. Waits count from those times.
One more kept connection brings the request that blocks, so the worker is one that has connections.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.connections.client import Answer, Connection, Dropped, Mixed, Target
from benchmarks.connections.load import Lateness
from benchmarks.connections.outcome import Figure, Outcome, Plan, milliseconds
from benchmarks.connections.servers import Running

KEPT = 32
NEW_A_SECOND = 50
_PERIOD = 0.25  # seconds between two requests on a kept connection


@dataclass
class _Waits:
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def longer(self, milliseconds: int) -> Figure:
        count = sum(1 for wait in self.seconds if wait > milliseconds / 1000)
        return Figure(count, 0, len(self.seconds))


async def measure(server: Running, target: Target, plan: Plan, kind: str) -> Outcome:
    blocked, lasting = (3.0, 2.2) if plan.is_quick else (5.0, 4.0)
    (blocking, _), *kept = await Connection.open_all(target, KEPT + 1)
    new, old, stalled = _Waits(), _Waits(), set[int]()
    async with Lateness() as lateness:
        block = asyncio.create_task(_block(blocking, kind, blocked))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(lasting * NEW_A_SECOND)):
                group.create_task(_ask_once(target, began + number / NEW_A_SECOND, new))
            for number, (connection, _) in enumerate(kept):
                first = began + _PERIOD * number / KEPT
                group.create_task(
                    _ask_often(target, connection, first, lasting, old, stalled, number)
                )
        pid, taken, reason = await block
    if taken < 0.6 * blocked:
        raise RuntimeError(f"the worker was blocked for {taken:.1f} s only")
    on_it = sum(1 for _, each in kept if each == pid)
    figures = {
        "new connections > 100 ms": new.longer(100),
        "> 250 ms": new.longer(250),
        "worst new, ms": milliseconds(max(new.seconds, default=0)),
        "kept connections stalled > 250 ms": Figure(len(stalled), 0, KEPT),
        "kept connections it served before": Figure(on_it if pid else None),
        "kept, requests > 100 ms": old.longer(100),
        "worst kept, ms": milliseconds(max(old.seconds, default=0)),
        "failed": Figure((new.failures + old.failures + reason).total()),
        "client late, ms": milliseconds(lateness.worst),
    }
    return Outcome(figures, new.failures + old.failures + reason)


async def _block(
    connection: Connection, kind: str, seconds: float
) -> tuple[int | None, float, Counter[str]]:
    """The worker, for how long it was blocked, and why its answer was lost, if it was."""
    began = time.monotonic()
    try:
        answer = await connection.get("/block", more=f"&kind={kind}&seconds={seconds}")
    except Dropped as error:  # some servers kill a worker that does not answer them
        return None, time.monotonic() - began, Counter([f"the blocking request: {error}"])
    connection.close()
    return answer.pid, time.monotonic() - began, Counter()


async def _ask_once(target: Target, due: float, waits: _Waits) -> None:
    await asyncio.sleep(max(0, due - time.monotonic()))
    try:
        connection = await Connection.open(target)
        await connection.get(close=True)
        connection.close()
    except (Dropped, Mixed) as error:
        waits.failures[str(error)] += 1
    waits.seconds.append(time.monotonic() - due)


async def _ask_often(
    target: Target,
    connection: Connection,
    due: float,
    lasting: float,
    waits: _Waits,
    stalled: set[int],
    number: int,
) -> None:
    end = due + lasting
    while due < end:
        await asyncio.sleep(max(0, due - time.monotonic()))
        try:
            answer: Answer | None = await connection.get()
        except (Dropped, Mixed) as error:
            waits.failures[str(error)] += 1
            answer = None
        now = time.monotonic()
        waits.seconds.append(now - due)
        if now - due > 0.25:
            stalled.add(number)
        if answer is None or answer.closes:
            connection.close()
            connection = await Connection.open(target)
        due += _PERIOD
        if now > due:  # turns that passed meanwhile
            due += _PERIOD * ((now - due) // _PERIOD + 1)
    connection.close()
