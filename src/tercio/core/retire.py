"""Decide from a round of measurements who is to be replaced, and who must be killed."""

from tercio.core import commands, events, health
from tercio.core.cluster import Cluster
from tercio.core.health import Verdict
from tercio.core.inputs import Sample, Sampled
from tercio.core.leaks import MemoryHistory
from tercio.core.model import Phase, Retirement, Worker

_JUDGED = (Phase.PROBING, Phase.STANDBY, Phase.SERVING, Phase.PARKED, Phase.DRAINING)


def take(cluster: Cluster, round_: Sampled, now: float) -> None:
    """Judge every measured worker; judge none's health when the judge itself was late."""
    last, cluster.last_sampled = cluster.last_sampled, now
    # Suspend, a stopped primary or a used-up CPU quota stops everybody's beats alike.
    is_on_time = last is not None and now - last <= 2.5 * cluster.policy.sample_interval
    for sample in round_.samples:
        worker = cluster.find(sample.worker)
        if worker is None:
            continue
        if is_on_time:
            _judge_health(cluster, worker, sample, now)
        if worker.phase is Phase.SERVING and worker.retirement is None:
            _judge_limits(cluster, worker, sample, round_.headroom_bytes, now)


def _judge_health(cluster: Cluster, worker: Worker, sample: Sample, now: float) -> None:
    if worker.phase not in _JUDGED:
        return
    verdict = health.judge(sample.beats)
    if verdict in (Verdict.FINE, Verdict.TRACED):
        worker.missed_beats = 0
        worker.is_silent = False
        return
    worker.missed_beats += 1
    if worker.missed_beats < health.MISSES_NEEDED:
        return
    if verdict is not Verdict.BLOCKED and not worker.is_silent:
        # A blocked loop reports itself, through its watchdog thread; these two cannot.
        worker.is_silent = True
        cluster.publish(
            events.WorkerSilent(worker.id, sample.beats.thread_age or 0.0, verdict.value)
        )
        if verdict is Verdict.SILENT:
            cluster.outbox.append(commands.ShowStack(worker.id))
    reason = health.fatal(verdict, sample.beats, cluster.policy)
    if reason is not None:
        cluster.kill(worker, now, reason, is_fault=True)


def _judge_limits(
    cluster: Cluster, worker: Worker, sample: Sample, headroom: int | None, now: float
) -> None:
    reason = _memory_reason(cluster, worker, sample, now) or _use_reason(
        cluster, worker, sample, now
    )
    if reason is None:
        return
    if cluster.is_rejected:
        if not worker.is_paused:
            worker.is_paused = True
            cluster.publish(events.RetirementPaused(worker.id, reason))
        return
    used = sample.used_bytes or 0
    vacate = headroom is not None and used > 0 and headroom < used
    cluster.retire(worker, Retirement(reason, is_automatic=True, vacate=vacate))


def _memory_reason(cluster: Cluster, worker: Worker, sample: Sample, now: float) -> str | None:
    if sample.used_bytes is None:
        return None
    history = cluster.memory.setdefault(worker.id, MemoryHistory())
    return history.observe(now, sample.used_bytes, cluster.policy)


def _use_reason(cluster: Cluster, worker: Worker, sample: Sample, now: float) -> str | None:
    policy = cluster.policy
    if worker.id not in cluster.allowances:
        # Workers that started together must not reach their limits together.
        cluster.allowances[worker.id] = 1.0 - policy.limit_jitter * cluster.draw()
    allowance = cluster.allowances[worker.id]
    if policy.limit_requests and sample.requests >= policy.limit_requests * allowance:
        return f"served {sample.requests} requests (--limit-max-requests)"
    age = now - worker.spawned
    if policy.limit_lifetime and age >= policy.limit_lifetime * allowance:
        return f"lived {age:.0f} s (--limit-max-lifetime)"
    return None
