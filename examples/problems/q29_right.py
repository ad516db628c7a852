"""Q29: each worker counts in shared memory of its own, and who asks adds up.

tercio run examples.problems.q29_right:app -w 4
"""

from examples.problems.plain import application

from tercio import cluster

hits = cluster.metrics.counter("hits", "Requests for /hit")


async def hit() -> str:
    hits.inc()
    return "ok"


async def total() -> int:
    return int((await cluster.metrics.totals())["hits_total"])


async def metrics() -> str:
    return cluster.metrics.text()


app = application({"/hit": hit, "/total": total, "/metrics": metrics})
