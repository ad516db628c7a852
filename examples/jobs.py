"""Workers that are no web application: each squares the numbers that it is sent.

No port is opened. `examples/launch.py` runs these workers and sends them numbers.
"""

from tercio import cluster
from tercio.callable import Worker


async def main(worker: Worker) -> None:
    """Take what comes until this worker is to go; what has come by then is still done."""
    worker.ready()
    async for number in cluster.worker.messages():
        assert isinstance(number, int)
        cluster.worker.send_to_launcher({"number": number, "square": number * number})
