"""Q21: a counter that all workers share. No two requests get the same number.

tercio run examples.problems.q21_right:app -w 4
"""

from examples.problems.plain import application

from tercio import cluster


async def hit() -> int:
    return await cluster.state.incr("hits")


app = application({"/hit": hit})
