"""Decide how a reload goes on: begin, trial, commit or rollback."""

from tercio.core import events
from tercio.core.cluster import Cluster, PendingReload
from tercio.core.inputs import ReloadAsked
from tercio.core.rollout import Rollout, Stage


def ask(cluster: Cluster, asked: ReloadAsked, now: float) -> None:
    """Begin a reload, or merge it into the one that waits."""
    is_exact = asked.headroom_bytes is None or asked.headroom_bytes >= asked.needed_bytes
    if cluster.rollout is None and not cluster.is_debugged():
        _begin(cluster, PendingReload([asked.request], asked.revision, asked.policy, is_exact), now)
        return
    waiting = cluster.pending
    if waiting is None:
        cluster.pending = PendingReload([asked.request], asked.revision, asked.policy, is_exact)
    else:
        waiting.requests.append(asked.request)
        waiting.revision, waiting.policy, waiting.is_exact = asked.revision, asked.policy, is_exact
    if cluster.rollout is None:
        cluster.publish(events.ReloadWaits(asked.request))
        return
    cluster.publish(events.ReloadQueued(asked.request))
    is_early = cluster.rollout.stage is Stage.BOOT
    if cluster.policy.is_development and is_early and not cluster.is_debugged():
        # What boots is old already. It may hang, too, and the change be what mends it.
        cluster.rollout.fail("the files changed again")


def advance(cluster: Cluster, now: float) -> None:
    """Take the reload one step further, or back."""
    rollout = cluster.rollout
    if rollout is None:
        return
    if now >= rollout.deadline:
        seconds = rollout.deadline - rollout.started
        rollout.fail(f"not done after {seconds:g} s (--reload-timeout)")
    slots = cluster.wanted()
    if rollout.failure is not None:
        _reject(cluster, rollout, rollout.failure)
    elif rollout.stage is Stage.BOOT:
        soaked_at = rollout.soaked_at(slots)
        if soaked_at is not None and now >= soaked_at:
            rollout.stage = Stage.TRIAL
            rollout.trial_since = now
            cluster.publish(events.ReloadTrial(rollout.generation, rollout.policy.trial))
    else:
        tried_at = rollout.tried_at(slots)
        if tried_at is not None and now >= tried_at:
            _commit(cluster, rollout, now)


def begin_pending(cluster: Cluster, now: float) -> None:
    """Begin the reload that waited, once the seats show the outcome of the last one."""
    if cluster.rollout is None and cluster.pending is not None and not cluster.is_debugged():
        waiting, cluster.pending = cluster.pending, None
        _begin(cluster, waiting, now)


def next_deadline(cluster: Cluster) -> float | None:
    """When `advance` has something to do, if nothing else happens."""
    rollout = cluster.rollout
    if rollout is None:
        return None
    slots = cluster.wanted()
    times: list[float | None] = [rollout.deadline]
    if rollout.stage is Stage.TRIAL:
        times.append(rollout.tried_at(slots))
    else:
        times.append(rollout.soaked_at(slots))
        if not rollout.is_exact:
            times += [rollout.soaked_at([slot]) for slot in slots if rollout.predecessor(slot)]
    return min(time for time in times if time is not None)


def _begin(cluster: Cluster, waiting: PendingReload, now: float) -> None:
    cluster.newest += 1
    cluster.rollout = Rollout(
        generation=cluster.newest,
        revision=waiting.revision,
        policy=waiting.policy,
        requests=tuple(waiting.requests),
        started=now,
        deadline=now + waiting.policy.reload_limit(cluster.target, is_exact=waiting.is_exact),
        is_exact=waiting.is_exact,
    )
    # A person asks because something was mended: what held slots back is forgotten.
    cluster.breaker.close()
    for slot in cluster.slots.values():
        slot.failures, slot.not_before = 0, now
    cluster.publish(
        events.ReloadStarted(cluster.newest, cluster.rollout.requests, waiting.is_exact)
    )


def _commit(cluster: Cluster, rollout: Rollout, now: float) -> None:
    cluster.generation = rollout.generation
    cluster.revision = rollout.revision
    cluster.policy = rollout.policy.for_target(cluster.target)
    cluster.is_rejected = False
    cluster.rollout = None
    for worker in cluster.workers():
        worker.is_kept = False  # every slot has the new release
    cluster.forget_fingerprints()
    cluster.last_reload = events.ReloadCommitted(
        rollout.generation, rollout.requests, now - rollout.started
    )
    cluster.publish(cluster.last_reload)


def _reject(cluster: Cluster, rollout: Rollout, reason: str) -> None:
    replaced: list[int] = []
    can_return = bool(cluster.policy.release_dir) or cluster.can_fork(cluster.generation)
    for slot in cluster.wanted():
        successor = rollout.successor(slot)
        has_replaced = slot.present == [successor] and successor in slot.serving
        is_stuck = not rollout.is_exact and not can_return
        if is_stuck and successor is not None and has_replaced:
            # What it replaced cannot come back: a start would load the same new files again.
            successor.is_kept = True
            replaced.append(slot.number)
    cluster.is_rejected = True
    cluster.rollout = None
    cluster.forget_fingerprints()
    cluster.last_reload = events.ReloadRejected(
        rollout.generation,
        cluster.generation,
        rollout.requests,
        reason,
        rollout.traceback,
        tuple(replaced),
    )
    cluster.publish(cluster.last_reload)
