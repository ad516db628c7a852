"""Q29, wrong: a file a process, as prometheus_client does with several processes.

What a dead worker counted must stay, so its files stay, and each reader reads them all.

PROMETHEUS_MULTIPROC_DIR=/tmp/metrics tercio run examples.problems.q29_files:app -w 4
"""

from examples.problems.plain import application
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

hits = Counter("hits", "Requests for /hit")


async def hit() -> str:
    hits.inc()
    return "ok"


async def metrics() -> str:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()


app = application({"/hit": hit, "/metrics": metrics})
