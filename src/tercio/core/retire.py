"""Decide from a round of measurements who is to be replaced, and who must be killed."""

import dataclasses
from typing import Final

from tercio.core import commands, events, health
from tercio.core.cluster import Cluster
from tercio.core.health import Verdict
from tercio.core.inputs import Sample, Sampled
from tercio.core.leaks import MemoryHistory
from tercio.core.model import Phase, Retirement, Worker

_JUDGED = (Phase.PROBING, Phase.STANDBY, Phase.SERVING, Phase.PARKED, Phase.DRAINING)

_BEAT: Final = 1.0
"""Seconds within which a worker that runs has beaten again."""


def take(cluster: Cluster, round_: Sampled, now: float) -> None:
    """Judge every measured worker; judge none's health when the judge itself was late."""
    interval = cluster.policy.sample_interval
    last, cluster.last_sampled = cluster.last_sampled, now
    if last is None or now - last > interval + max(1.5 * interval, _BEAT):
        # Suspend, a frozen group or a used-up CPU quota stops everybody's beats alike; they have
        # a period to come back.
        cluster.judges_from = now + max(interval, _BEAT)
    for sample in round_.samples:
        worker = cluster.find(sample.worker)
        if worker is None:
            continue
        worker.is_at_prompt = sample.beats.is_at_prompt
        if now >= cluster.judges_from:
            if reason := health.holds_up_others(sample.beats):
                cluster.kill(worker, now, reason, is_fault=True)
            _judge_health(cluster, worker, sample, now)
        if worker.phase is not Phase.SERVING:
            continue
        if worker.retirement is None:
            _judge_limits(cluster, worker, sample, round_.headroom_bytes, now)
        else:
            _look_again_for_room(cluster, worker, worker.retirement, round_.headroom_bytes)


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
    if not cluster.starts_what_was_committed():
        if not worker.is_paused:
            worker.is_paused = True
            cluster.publish(events.RetirementPaused(worker.id, reason))
        return
    vacate = _is_short(cluster, worker, headroom)
    cluster.retire(worker, Retirement(reason, is_automatic=True, vacate=vacate))


def _look_again_for_room(
    cluster: Cluster, worker: Worker, retirement: Retirement, headroom: int | None
) -> None:
    """While a worker waits for its turn others leave, and there may be memory for two again."""
    if headroom is None or len(cluster.slot(worker.id.slot).present) > 1:
        return
    vacate = _is_short(cluster, worker, headroom)
    if retirement.is_automatic and retirement.vacate is not vacate:
        worker.retirement = dataclasses.replace(retirement, vacate=vacate)
        cluster.publish(events.RetirementPlanned(worker.id, retirement.reason, vacate))


def _is_short(cluster: Cluster, worker: Worker, headroom: int | None) -> bool:
    """Whether a successor beside the worker would wake the OOM killer."""
    history = cluster.memory.get(worker.id)
    if headroom is None or history is None:
        return False
    return headroom < (history.fresh or 0)


def _memory_reason(cluster: Cluster, worker: Worker, sample: Sample, now: float) -> str | None:
    if sample.used_bytes is None:
        return None
    history = cluster.memory.setdefault(worker.id, MemoryHistory(fresh=worker.fresh_bytes))
    allowance = _allowance(cluster, worker)
    reason = history.observe(now, sample.used_bytes, cluster.policy, allowance)
    if history.is_over_when_fresh(cluster.policy) and not history.is_told:
        history.is_told = True
        cluster.publish(
            events.LimitTooLow(worker.id, history.fresh or 0, cluster.policy.limit_memory)
        )
    return reason


def _use_reason(cluster: Cluster, worker: Worker, sample: Sample, now: float) -> str | None:
    policy = cluster.policy
    allowance = _allowance(cluster, worker)
    if policy.limit_requests and sample.requests >= policy.limit_requests * allowance:
        return f"served {sample.requests} requests (--limit-max-requests)"
    age = now - worker.spawned
    if policy.limit_lifetime and age >= policy.limit_lifetime * allowance:
        return f"lived {age:.0f} s (--limit-max-lifetime)"
    return None


def _allowance(cluster: Cluster, worker: Worker) -> float:
    """The part of its limits that a worker may use: those that started together must not reach
    them together.
    """
    if worker.id not in cluster.allowances:
        cluster.allowances[worker.id] = 1.0 - cluster.policy.limit_jitter * cluster.draw()
    return cluster.allowances[worker.id]
