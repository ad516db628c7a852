"""Q29: nothing is counted; what the others are compared with.

tercio run examples.problems.q29_plain:app -w 4
"""

from examples.problems.plain import application


async def hit() -> str:
    return "ok"


async def metrics() -> str:
    return ""


app = application({"/hit": hit, "/metrics": metrics})
