"""Q21, wrong: a variable of the module, as if the workers shared it. Each has its own.

tercio run examples.problems.q21_naive:app -w 4
"""

from examples.problems.plain import application

counter = 0


async def hit() -> int:
    global counter
    counter += 1
    return counter


app = application({"/hit": hit})
