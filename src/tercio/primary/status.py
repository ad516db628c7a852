"""Put what the supervisor knows and what was measured into one answer for `status`."""

from collections.abc import Mapping, Sequence

from tercio import __version__
from tercio.core.cluster import Cluster
from tercio.core.model import Slot, Worker
from tercio.dataplane.scoreboard import (
    DURATION_BOUNDS,
    DURATION_WORDS,
    Field,
    Row,
    Scoreboard,
    WorkerPhase,
)
from tercio.primary.executor import Executor
from tercio.primary.footprints import Footprints
from tercio.primary.sampler import Sampler


def status_of(
    cluster: Cluster,
    executor: Executor,
    sampler: Sampler,
    scoreboard: Scoreboard,
    footprints: Footprints,
    children: Mapping[int, Sequence[int]],
    rate: float,
    now: float,
) -> dict[str, object]:
    """The part of `status` that changes. ``rate`` is requests a second, lately."""
    totals = scoreboard.totals()
    return {
        "version": __version__,
        "state": state_of(cluster),
        "generation": cluster.generation,
        "uptime": now - cluster.started,
        "target": cluster.target,
        "max_workers": cluster.policy.max_workers,
        "ready": cluster.ready_count(),
        "requests": totals[Field.REQUESTS],
        "requests_per_second": round(rate, 1),
        "server_errors": totals[Field.STATUS_5XX],
        "blocked": totals[Field.BLOCKED],
        "blocked_seconds": totals[Field.BLOCKED_US] / 1e6,
        "moves": _moves(totals),
        "memory_limit_bytes": cluster.policy.limit_memory or None,
        "reload": _reload(cluster, now),
        "last_reload": _last_reload(cluster),
        "breaker": _breaker(cluster, now),
        "duration_bounds": list(DURATION_BOUNDS),
        "workers": [
            _worker(slot, worker, executor, sampler, scoreboard, footprints, children, now)
            for slot in sorted(cluster.slots.values(), key=lambda slot: slot.number)
            for worker in slot.workers
        ],
        "slots": [
            _slot(cluster, slot, now)
            for slot in sorted(cluster.slots.values(), key=lambda slot: slot.number)
            if slot.number < cluster.target or slot.workers
        ],
        "notes": _notes(cluster),
    }


def state_of(cluster: Cluster) -> str:
    """One word for the whole cluster."""
    if cluster.stopping is not None:
        return "stopping"
    if cluster.rollout is not None:
        return "reloading"
    return "serving" if cluster.ready_count() else "starting"


def _worker(
    slot: Slot,
    worker: Worker,
    executor: Executor,
    sampler: Sampler,
    scoreboard: Scoreboard,
    footprints: Footprints,
    children: Mapping[int, Sequence[int]],
    now: float,
) -> dict[str, object]:
    process = executor.workers.get(worker.id)
    row = scoreboard.row(worker.seat)
    answer: dict[str, object] = {
        "worker": str(worker.id),
        "slot": worker.id.slot,
        "incarnation": worker.id.incarnation,
        "generation": worker.generation,
        "loaded": worker.loaded,
        "phase": worker.phase.value,
        "at_prompt": worker.is_at_prompt,
        "accepts": row[Field.PHASE] == WorkerPhase.SERVING,  # as it says itself
        "uptime": now - worker.spawned,
        "requests": row[Field.REQUESTS],
        "in_flight": row[Field.IN_FLIGHT],
        "connections": row[Field.CONNECTIONS],
        "durations": [row[word] for word in range(DURATION_WORDS.start, DURATION_WORDS.stop)],
        "loop_lag": _lag(row, now),
        "blocked": row[Field.BLOCKED],
        "blocked_seconds": row[Field.BLOCKED_US] / 1e6,
        "log_dropped": row[Field.LOG_DROPPED],
        "certificate_expires": row[Field.TLS_EXPIRES] or None,
        "restarts": slot.restarts,
        "last_error": slot.last_error,
        "note": worker.retirement.reason if worker.retirement else worker.departure or "",
    }
    if process is not None:
        percent, descriptors = sampler.cpu_percent(process, now)
        footprint = footprints.get(process.process.pid)
        answer |= {
            "pid": process.process.pid,
            "culprit": process.culprit,
            "cpu_percent": percent,
            "descriptors": descriptors,
            "memory_bytes": footprint.uss if footprint else None,
            "rss_bytes": footprint.rss if footprint else None,
            "pss_bytes": footprint.pss if footprint else None,
            "offloaded": _offloaded(children.get(process.process.pid, ()), footprints),
        }
    return answer


def _lag(row: Row, now: float) -> float:
    """Seconds; of a loop that is in one callback for long, for how long it is."""
    lag = row[Field.LOOP_LAG_US] / 1e6
    since = row[Field.SUSPECT]
    return max(lag, now - since / 1e9) if since else lag


def _moves(totals: Mapping[Field, int]) -> dict[str, object]:
    """Connections that did not stay where they came, over all workers that there ever were."""
    return {
        "drain": totals[Field.MOVED_DRAIN],
        "rebalance": totals[Field.MOVED_REBALANCE],
        "rescue": totals[Field.MOVED_RESCUE],
        "sticky": totals[Field.MOVED_STICKY],
        "stolen": totals[Field.STOLEN],
        "forwarded": totals[Field.FORWARDED],
        "taken_back": totals[Field.TAKEN_BACK],
        "unmoved": totals[Field.UNMOVED],
        "rescues": totals[Field.RESCUES],
    }


def _offloaded(pids: Sequence[int], footprints: Footprints) -> dict[str, object]:
    """The processes that carry out a worker's calls, and their own memory."""
    measured = (footprints.get(pid) for pid in pids)
    return {"pids": list(pids), "memory_bytes": sum(each.uss for each in measured if each)}


def _slot(cluster: Cluster, slot: Slot, now: float) -> dict[str, object]:
    starts_at = slot.not_before
    if cluster.breaker.is_open and cluster.has_survivor():
        starts_at = max(starts_at, cluster.breaker.next_probe)
    waits: float | None = max(0.0, starts_at - now) if not slot.present else 0.0
    if cluster.policy.is_development and not slot.present:
        waits = None  # for a change of a file, not for a time
    return {
        "slot": slot.number,
        "restarts": slot.restarts,
        "starts": slot.incarnations,
        "failures": slot.failures,
        "last_error": slot.last_error,
        "last_traceback": slot.last_traceback,
        "next_start_in": waits,
        "reasons": list(slot.reasons),
    }


def _reload(cluster: Cluster, now: float) -> dict[str, object] | None:
    rollout = cluster.rollout
    if rollout is None:
        return None
    successors = [rollout.successor(slot) for slot in cluster.wanted()]
    return {
        "generation": rollout.generation,
        "stage": rollout.stage.value,
        "seconds": now - rollout.started,
        "is_exact": rollout.is_exact,
        "ready": sum(1 for worker in successors if worker and worker.ready_at is not None),
        "of": len(successors),
        "waiting": cluster.pending is not None,
    }


def _last_reload(cluster: Cluster) -> dict[str, object] | None:
    event = cluster.last_reload
    if event is None:
        return None
    return {"kind": type(event).__name__, "text": event.text, **event.to_fields()}


def _breaker(cluster: Cluster, now: float) -> dict[str, object] | None:
    if not cluster.breaker.is_open:
        return None
    return {
        "deaths": len(cluster.breaker.deaths),
        "next_probe_in": max(0.0, cluster.breaker.next_probe - now),
    }


def _notes(cluster: Cluster) -> list[str]:
    notes = []
    if cluster.is_rejected and cluster.starts_what_was_committed():
        notes.append(
            f"generation {cluster.generation}: files changed since start, the last release was "
            "rejected; a worker that dies comes back with this generation's code"
        )
    elif cluster.is_rejected:
        notes.append(
            f"generation {cluster.generation}: files changed since start, the last release was "
            "rejected; planned recycling is paused, a worker that dies comes back with what is on "
            "disk"
        )
    return notes
