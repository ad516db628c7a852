"""Measure the workers: beats, requests, memory, CPU. Decides nothing about them.

Cheap things are read every round; a worker's own memory (USS) makes the kernel walk its page
tables, so it is read at most once an interval, and only when its resident size says it could
matter.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from tercio.config import Config
from tercio.core.health import HOLD_LIMIT, Beats
from tercio.core.inputs import Sample, Sampled
from tercio.core.model import WorkerId
from tercio.core.policy import Policy
from tercio.dataplane.scoreboard import Field, Row, Scoreboard
from tercio.primary.offloaded import offloaded
from tercio.primary.worker_process import WorkerProcess
from tercio.system import cgroup, memory, proc

_LOOK_CLOSER_AFTER = 2.0  # seconds without a beat; then the process' state is read too


@dataclass(slots=True)
class Usage:
    """What was measured of one worker so far."""

    cpu_seconds: float = 0.0
    looked_at: float = 0.0
    resident: int = 0
    own_bytes: int | None = None
    memory_due: float = 0.0
    offloaded: list[int] = field(default_factory=list)
    """The processes of its offloaded calls, whose memory is its own."""
    offloaded_due: float = 0.0


@dataclass(slots=True)
class Sampler:
    """Reads the scoreboard and /proc."""

    config: Config
    scoreboard: Scoreboard
    usage: dict[WorkerId, Usage] = field(default_factory=dict)
    headroom: int | None = None
    headroom_due: float = 0.0

    def round(
        self, workers: Mapping[WorkerId, WorkerProcess], policy: Policy, now: float
    ) -> Sampled:
        """Measure all workers."""
        for gone in self.usage.keys() - workers.keys():
            del self.usage[gone]
        samples = tuple(self._sample(worker, policy, now) for worker in workers.values())
        return Sampled(samples, self._headroom(policy, now))

    def longest_hold(self, workers: Mapping[WorkerId, WorkerProcess], now: float) -> float | None:
        """How long the state's write lock has been held; None when nobody has it."""
        rows = (self.scoreboard.row(worker.seat) for worker in workers.values())
        ages = (_age(row[Field.STATE_HOLDING], now) for row in rows)
        return max((age for age in ages if age is not None), default=None)

    def cpu_percent(self, worker: WorkerProcess, now: float) -> tuple[float, int | None]:
        """Percent of one core since the last look, and open descriptors."""
        state = proc.state(worker.process.pid)
        usage = self.usage.setdefault(worker.id, Usage())
        if state is None:
            return 0.0, None
        since = usage.looked_at or worker.process.started
        share = (state.cpu_seconds - usage.cpu_seconds) / max(now - since, 0.01)
        usage.cpu_seconds, usage.looked_at = state.cpu_seconds, now
        return round(100.0 * max(share, 0.0), 1), state.descriptors

    def _sample(self, worker: WorkerProcess, policy: Policy, now: float) -> Sample:
        row = self.scoreboard.row(worker.seat)
        return Sample(
            worker=worker.id,
            beats=_beats(row, worker.process.pid, now),
            requests=row[Field.REQUESTS],
            used_bytes=self._own_memory(worker, policy, now),
        )

    def _own_memory(self, worker: WorkerProcess, policy: Policy, now: float) -> int | None:
        if not policy.limit_memory and not policy.leak_window:
            return None
        usage = self.usage.setdefault(worker.id, Usage())
        if now < usage.memory_due:
            return None
        if now >= usage.offloaded_due:
            usage.offloaded = offloaded(worker.process.pid)
            usage.offloaded_due = now + self._memory_interval(policy)
        resident = memory.rss(worker.process.pid)
        if resident is None:
            return None
        resident += sum(memory.rss(pid) or 0 for pid in usage.offloaded)
        usage.resident = resident
        if not policy.leak_window and resident <= policy.least_limit_memory:
            # Own memory is never more than resident memory: this is under the limit.
            return resident
        usage.memory_due = now + self._memory_interval(policy)
        own = memory.uss(worker.process.pid)
        if own is not None:
            own += sum(memory.uss(pid) or 0 for pid in usage.offloaded)
        usage.own_bytes = own
        return own

    def _memory_interval(self, policy: Policy) -> float:
        # A trend is judged by the tenths of its window, so each must hold a sample.
        tenth = policy.leak_window / 10 or self.config.memory_interval
        return min(self.config.memory_interval, tenth)

    def _headroom(self, policy: Policy, now: float) -> int | None:
        """What the cgroup has left: read each round while somebody is over the limit, else seldom.

        It takes a dozen files, some 1 ms.
        """
        if not policy.limit_memory and not policy.leak_window:
            return None
        limit = policy.least_limit_memory or policy.limit_memory or sys.maxsize
        is_pressing = any(usage.resident > limit for usage in self.usage.values())
        if is_pressing or now >= self.headroom_due:
            self.headroom = cgroup.limits().memory_headroom
            self.headroom_due = now + self._memory_interval(policy)
        return self.headroom


def _beats(row: Row, pid: int, now: float) -> Beats:
    loop_age = _age(row[Field.LOOP_BEAT], now)
    thread_age = _age(row[Field.THREAD_BEAT], now)
    holding_age = _age(row[Field.STATE_HOLDING], now)
    # A worker that was stopped before its loop first ran has one beat, which grows old.
    ages = [age for age in (loop_age, thread_age) if age is not None]
    is_suspect = max(ages, default=0.0) >= _LOOK_CLOSER_AFTER or (holding_age or 0.0) >= HOLD_LIMIT
    state = proc.state(pid) if is_suspect else None
    is_at_prompt = row[Field.PROMPT] != 0
    if state is None:
        return Beats(loop_age, thread_age, holding_age=holding_age, is_at_prompt=is_at_prompt)
    is_traced = state.tracer != 0 or state.letter == "t"
    is_stopped = state.letter == "T"
    return Beats(loop_age, thread_age, is_stopped, is_traced, holding_age, is_at_prompt)


def _age(beat: int, now: float) -> float | None:
    return max(0.0, now - beat / 1e9) if beat else None
