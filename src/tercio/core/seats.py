"""Decide who serves in a slot, and who leaves it. Level-triggered: it looks at what is there.

It starts nothing; `starts` does.
"""

from tercio.core.cluster import Cluster
from tercio.core.model import Phase, Slot, Worker
from tercio.core.rollout import Stage


def expire(cluster: Cluster, now: float) -> None:
    """End every wait that has reached its deadline."""
    for worker in cluster.workers():
        if worker.deadline is None or now < worker.deadline:
            continue
        policy = cluster.policy_for(worker.generation)
        if worker.is_at_prompt and worker.phase is not Phase.DYING and cluster.stopping is None:
            worker.deadline = now + policy.sample_interval  # whoever debugs takes their time
            continue
        match worker.phase:
            case Phase.BOOTING:
                reason = f"was not loaded after {policy.start_timeout:g} s (--start-timeout)"
                cluster.kill(worker, now, worker.fault or reason, is_fault=True)
            case Phase.PROBING:
                reason = f"was not ready after {policy.ready_timeout:g} s (--ready-timeout)"
                cluster.kill(worker, now, worker.fault or reason, is_fault=True)
            case Phase.DRAINING:
                cluster.kill(worker, now, "was not gone at the drain limit", is_fault=False)
            case Phase.DYING:
                cluster.kill_again(worker, now)
            case _:
                worker.deadline = None


def settle(cluster: Cluster, slot: Slot, now: float) -> None:
    """Bring one slot nearer to what is wanted of it."""
    if slot.number >= cluster.target:
        for worker in slot.present:
            cluster.drain(worker, now, "scale")
        return
    _fill(cluster, slot, now)
    _make_room(cluster, slot, now)
    if cluster.rollout is None:
        _drop_rejected(cluster, slot, now)
        _take_over(cluster, slot, now)
    elif cluster.rollout.stage is Stage.TRIAL:
        _try_out(cluster, slot, now)
    elif not cluster.rollout.is_exact:
        _roll(cluster, slot, now)
    _keep_one(cluster, slot, now)


def _fill(cluster: Cluster, slot: Slot, now: float) -> None:
    """A slot with nobody serving takes whoever can: capacity comes before soak and generation."""
    if slot.serving:
        return
    able = [w for w in slot.present if w.phase in (Phase.STANDBY, Phase.PARKED)]
    if able:
        cluster.serve(max(able, key=lambda w: _rank(cluster, w)), now)


def _make_room(cluster: Cluster, slot: Slot, now: float) -> None:
    """A reload ends a seat change that has not happened yet: it brings a successor of its own.

    Two workers of older generations would leave it no room, until its deadline.
    """
    rollout = cluster.rollout
    if rollout is None or not slot.serving:
        return
    for worker in slot.present:
        is_spare = worker.phase.is_starting or worker.phase is Phase.STANDBY
        if is_spare and worker.generation != rollout.generation:
            cluster.drain(worker, now, "reload")


def _drop_rejected(cluster: Cluster, slot: Slot, now: float) -> None:
    """Without a reload, a worker that does not serve and is of another generation is a leftover."""
    for worker in slot.present:
        if _belongs(cluster, worker) or worker.phase is Phase.SERVING:
            continue
        reason = "reload" if worker.generation < cluster.generation else "rollback"
        cluster.drain(worker, now, reason)


def _take_over(cluster: Cluster, slot: Slot, now: float) -> None:
    """Seat change outside of a reload: recycling, and what a rollback left behind."""
    for incumbent in slot.serving:
        for other in slot.present:
            if other.phase is Phase.PARKED and needs_successor(cluster, incumbent):
                # Rollback: the old worker never stopped, so it needs no soak.
                cluster.serve(other, now)
                cluster.drain(incumbent, now, departure(cluster, incumbent))
                return
            if other.phase is Phase.STANDBY and _has_soaked(cluster, other, now):
                cluster.serve(other, now)
                cluster.drain(incumbent, now, departure(cluster, incumbent))
                return


def _try_out(cluster: Cluster, slot: Slot, now: float) -> None:
    """TRIAL: the new generation serves, the old one waits."""
    assert cluster.rollout is not None
    successor = cluster.rollout.successor(slot)
    if successor is None or successor.phase.is_starting:
        return
    if successor.phase is not Phase.SERVING:
        cluster.serve(successor, now)  # before the other parks: the slot is never without
    predecessor = cluster.rollout.predecessor(slot)
    if predecessor is not None:
        cluster.park(predecessor, now)


def _roll(cluster: Cluster, slot: Slot, now: float) -> None:
    """A rolling reload changes each slot as soon as its own successor has soaked."""
    assert cluster.rollout is not None
    successor = cluster.rollout.successor(slot)
    predecessor = cluster.rollout.predecessor(slot)
    if successor is None or predecessor is None or successor.phase is not Phase.STANDBY:
        return
    if _has_soaked(cluster, successor, now):
        cluster.serve(successor, now)
        cluster.drain(predecessor, now, "reload")


def _keep_one(cluster: Cluster, slot: Slot, now: float) -> None:
    """Two must not serve in one slot: the better one stays."""
    serving = slot.serving
    if len(serving) < 2:
        return
    best = max(serving, key=lambda w: _rank(cluster, w))
    for worker in serving:
        if worker is not best:
            cluster.drain(worker, now, "replaced")


def needs_successor(cluster: Cluster, worker: Worker) -> bool:
    """Whether a serving worker is to be replaced, outside of a reload."""
    if worker.retirement is not None:
        return True
    return not _belongs(cluster, worker)


def departure(cluster: Cluster, worker: Worker) -> str:
    """Why a replaced worker leaves."""
    if worker.generation != cluster.generation:
        return "rollback" if worker.generation > cluster.generation else "reload"
    return "recycle" if worker.retirement is not None else "replaced"


def _has_soaked(cluster: Cluster, worker: Worker, now: float) -> bool:
    soak = cluster.policy_for(worker.generation).soak
    return worker.ready_at is not None and now >= worker.ready_at + soak


def _belongs(cluster: Cluster, worker: Worker) -> bool:
    """Whether it runs what was committed, or what a rolling reload left in its place."""
    return worker.generation == cluster.generation or worker.is_kept


def _rank(cluster: Cluster, worker: Worker) -> tuple[bool, bool, int]:
    """Order of preference: belongs here, not to be replaced, the newest."""
    return (
        _belongs(cluster, worker),
        worker.retirement is None,
        worker.id.incarnation,
    )
