"""Count, and read what all processes of the cluster have counted.

What is written lies in shared memory (`tercio.dataplane.series`); nothing here waits, and no file
is made.
"""

from tercio.metrics.kinds import Counter, Gauge, Histogram
from tercio.metrics.metrics import LocalMetrics, Metrics
from tercio.metrics.snapshot import Snapshot

__all__ = ["Counter", "Gauge", "Histogram", "LocalMetrics", "Metrics", "Snapshot"]
