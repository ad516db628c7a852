"""The primary's part in statistics: it says how the cluster is, reads when it is asked, and tells.

No request costs the primary anything: workers count in shared memory, and nobody sends it a number.
"""

import os
import time
from collections import deque
from typing import Final

from tercio.core.cluster import Cluster
from tercio.core.events import ReloadCommitted, ReloadRejected
from tercio.dataplane.scoreboard import Fact, Field
from tercio.dataplane.shared import Shared
from tercio.errors import ControlError
from tercio.metrics import builtin, summary
from tercio.metrics.snapshot import Snapshot
from tercio.primary.journal import Entry, Journal

_LOOKS: Final = 10
_APART: Final = 0.5  # seconds between two looks
"""The rate of requests is that since the oldest of these looks."""


class Statistics:
    """See the module. Everything runs in the loop."""

    def __init__(self, shared: Shared, journal: Journal) -> None:
        self._shared = shared
        self._journal = journal
        self._reloads = self._rejected = 0
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._told: tuple[float, Snapshot] | None = None
        shared.scoreboard.state(
            {Fact.STARTED: int(time.time() * 1e3), Fact.PRIMARY_PID: os.getpid()}
        )
        journal.subscribe(self._count)

    def keep_up(self, cluster: Cluster, now: float) -> None:
        """Say how the cluster is, for workers that are asked for metrics."""
        scoreboard = self._shared.scoreboard
        scoreboard.state(
            {
                Fact.TARGET: cluster.target,
                Fact.READY: cluster.ready_count(),
                Fact.RESTARTS: sum(slot.restarts for slot in cluster.slots.values()),
                Fact.RELOADS: self._reloads,
                Fact.REJECTED: self._rejected,
                Fact.GENERATION: cluster.generation,
            }
        )
        if not self._looks or now - self._looks[-1][0] >= _APART:
            self._looks.append((now, scoreboard.total(Field.REQUESTS)))

    def rate(self, now: float) -> float:
        """Requests a second, lately."""
        if not self._looks or now <= self._looks[0][0]:
            return 0.0
        since, before = self._looks[0]
        return (self._shared.scoreboard.total(Field.REQUESTS) - before) / (now - since)

    def to_json(self) -> dict[str, object]:
        """All metrics of all processes. Raises `ControlError`."""
        try:
            return Snapshot.take(self._shared.series, self._shared.scoreboard).to_json()
        except TimeoutError as error:
            raise ControlError(str(error)) from error

    def tell(self, interval: float, period: float, now: float) -> None:
        """Publish a line if it is due. Called every ``period``; the nearest call to it counts."""
        if not interval:
            self._told = None
            return
        if self._told is not None and now - self._told[0] < interval - period / 2:
            return
        snapshot = Snapshot.of(builtin.of_scoreboard(self._shared.scoreboard))
        if self._told is not None:
            since, before = self._told
            self._journal.publish(summary.between(before, snapshot, now - since))
        self._told = now, snapshot

    def _count(self, entry: Entry) -> None:
        match entry.event:
            case ReloadCommitted():
                self._reloads += 1
            case ReloadRejected():
                self._rejected += 1
            case _:
                pass
