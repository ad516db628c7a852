"""Q23, right: what takes long runs in a process beside the worker.

tercio run examples.problems.q23_right:app -w 4
"""

from examples.problems.plain import application
from examples.problems.q23_naive import compute, fast

from tercio import cluster


async def long(seconds: str = "2") -> str:
    return await cluster.offload(compute, float(seconds))


app = application({"/long": long, "/fast": fast})
