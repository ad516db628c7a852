"""Q23, wrong: a handler that keeps its event loop to itself.

/long?seconds=2   computes for so long
/fast             the slot of the worker that answers, at once

tercio run examples.problems.q23_naive:app -w 4
"""

import time

from examples.problems.plain import application

from tercio import cluster


def compute(seconds: float) -> str:
    """Stand for work that keeps a core busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "Done"


async def long(seconds: str = "2") -> str:
    return compute(float(seconds))


async def fast() -> int:
    return cluster.worker.slot


app = application({"/long": long, "/fast": fast})
