"""Do requests fail while a reload goes on?

Three kinds of clients, of each 16: kept connections, a connection a request, a POST in two writes
on a kept connection. The reload is over when only the new release answers; then a second more.
"""

import asyncio
from collections import Counter

from benchmarks.connections.client import Target
from benchmarks.connections.load import Load
from benchmarks.connections.outcome import Figure, Outcome, Plan, milliseconds
from benchmarks.connections.servers import Running

CLIENTS = 16  # of each kind
LONGEST = 60.0  # seconds for a reload
_SETTLE = 1.0


async def measure(server: Running, target: Target, plan: Plan) -> Outcome:
    seconds = []
    async with Load(target, kept=CLIENTS, fresh=CLIENTS, split=CLIENTS) as load:
        await asyncio.sleep(1)
        for number in range(1, plan.reloads + 1):
            program = server.reload(f"r{number}")
            seconds.append(await load.until_only(f"r{number}", LONGEST))
            await asyncio.sleep(_SETTLE)
            if program is not None:
                await asyncio.to_thread(program.wait, LONGEST)
    tallies = {"kept": load.kept, "connection a request": load.fresh, "split POST": load.split}
    figures = {}
    for kind, tally in tallies.items():
        total = len(tally.answers) + tally.failed
        figures[f"failed a reload, {kind}"] = Figure(
            tally.failed / plan.reloads, 1, total // plan.reloads
        )
    idle = load.kept.ended_idle + load.split.ended_idle
    figures["connections closed a reload, without notice"] = Figure(idle / plan.reloads, 1)
    figures["mixed up"] = Figure(sum(tally.mixed for tally in tallies.values()))
    figures["worst answer, ms"] = milliseconds(max(tally.worst for tally in tallies.values()))
    figures["reload, s"] = Figure(max(seconds), 1)
    return Outcome(figures, sum((tally.failures for tally in tallies.values()), Counter()))
