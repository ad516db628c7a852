"""Do the clients notice a server that mixes up answers? uvicorn, with one answer in ten falsified.

A zero in a table means something only if this fails to be zero.
"""

import asyncio

import uvloop
from benchmarks.connections.client import Target
from benchmarks.connections.load import Load
from benchmarks.connections.servers import running

SHARE = 10


async def ask(target: Target) -> tuple[int, int]:
    """Answers, and those that were found to belong to another request."""
    async with Load(target, kept=8, fresh=8, split=8) as load:
        await asyncio.sleep(3)
    tallies = (load.kept, load.fresh, load.split)
    mixed = sum(tally.mixed for tally in tallies)
    return mixed + sum(len(tally.answers) for tally in tallies), mixed


def main() -> None:
    for lies in (0, SHARE):
        with (
            running("uvicorn", workers=4, lies=lies) as server,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            answers, mixed = runner.run(ask(server.target))
        told = f"one answer in {lies} falsified" if lies else "none falsified"
        print(f"{told}: {mixed} of {answers:,} noticed")
        expected = answers / lies if lies else 0
        if not 0.8 * expected <= mixed <= 1.2 * expected:
            raise SystemExit("the clients do not notice")


if __name__ == "__main__":
    main()
