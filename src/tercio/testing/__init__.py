"""A pytest plugin for applications that use `tercio.cluster`, and a real cluster for their tests.

Each test gets a state, a bus and metrics of its own, in this process: nothing is left for the next
test, and nothing needs to be started. The fixture ``tercio_clock`` moves the time that locks, rate
limits and times to live go by. What only several processes can show needs ``workers``::

    def test_all_workers_count_together():
        with workers("shop:app", n=3) as cluster:
            for _ in range(100):
                urllib.request.urlopen(cluster.url + "/hit")
            assert cluster.get_json("/hits") == 100
"""

from tercio.testing.clock import Clock
from tercio.testing.running import Running, workers

__all__ = ["Clock", "Running", "workers"]
