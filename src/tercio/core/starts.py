"""Decide which slots start a worker now."""

from typing import Final

from tercio.core import events, templates
from tercio.core.cluster import Cluster
from tercio.core.model import Phase, Slot, Worker
from tercio.core.restarts import back_off
from tercio.core.seats import needs_successor

UNTIL_A_CHANGE: Final = 1e9
"""Seconds. A reload starts a worker all the same."""


def start(cluster: Cluster, now: float) -> None:
    """Start what is missing, within back-off, breaker and surge."""
    _close_breaker(cluster, now)
    if templates.is_awaited(cluster):
        return
    if cluster.rollout is not None:
        for slot in cluster.rollout.next_slots(cluster.wanted()):
            cluster.spawn(slot, now, "reload")
        return
    for slot in _empty(cluster):
        if _may_start(cluster, slot, now):
            if cluster.breaker.is_open:
                cluster.breaker.probe(now, cluster.policy)
            cluster.spawn(slot, now, _cause(slot))
    if not cluster.breaker.is_open:
        _start_replacement(cluster, now)


def note_death(cluster: Cluster, slot: Slot, worker: Worker, now: float) -> None:
    """Let an unplanned death cost what it should."""
    slot.restarts += 1
    if worker.phase is Phase.PARKED:
        return  # its successor serves
    if cluster.policy.is_development and worker.ready_at is None:
        slot.not_before = now + UNTIL_A_CHANGE
        cluster.publish(events.ChangeAwaited(slot.number))
        return
    if worker.was_stable(now, cluster.policy.stable_after):
        slot.failures = 0
        slot.not_before = now
        return
    if not cluster.ever_ready:
        return  # first boot: whether to go on is decided when every slot has tried once
    slot.failures += 1
    delay = back_off(slot.failures, cluster.policy, cluster.draw)
    slot.not_before = now + delay
    cluster.publish(events.RestartDelayed(slot.number, delay, slot.failures))
    if cluster.breaker.record(now, cluster.policy, cluster.target):
        policy = cluster.policy
        deaths = len(cluster.breaker.deaths)
        cluster.publish(events.BreakerOpened(deaths, policy.breaker_window, policy.probe_interval))


def has_given_up(cluster: Cluster) -> bool:
    """First boot: every slot tried once and none became ready, so there is nothing to keep."""
    return (
        not cluster.ever_ready
        and not cluster.policy.is_development
        and cluster.rollout is None
        and not cluster.workers()
        and (
            all(slot.incarnations > 0 for slot in cluster.wanted())
            or templates.has_failed_at_first(cluster)
        )
    )


def is_crash_loop(cluster: Cluster) -> bool:
    """The breaker is open and nobody is left to serve."""
    return cluster.breaker.is_open and not cluster.has_survivor()


def next_start(cluster: Cluster) -> float | None:
    """When an empty or retiring slot may start, if only time keeps it back."""
    if cluster.rollout is not None or templates.is_awaited(cluster):
        return None
    probe = _not_before_probe(cluster)
    times = [
        max(slot.not_before, probe) for slot in _empty(cluster) if _has_tried_or_may(cluster, slot)
    ]
    if not cluster.breaker.is_open and not _is_replacing(cluster):
        times += [slot.not_before for slot in _retiring(cluster)]
    return min(times, default=None)


def _not_before_probe(cluster: Cluster) -> float:
    """What an open breaker adds to a slot's own back-off: turns, while survivors serve.

    With nobody left there is nothing to protect from the tries, and everything to win by them.
    """
    if cluster.breaker.is_open and cluster.has_survivor():
        return cluster.breaker.next_probe
    return 0.0


def _empty(cluster: Cluster) -> list[Slot]:
    """Slots with nobody there and room for one, the longest untried first: probes take turns."""
    slots = [slot for slot in cluster.wanted() if not slot.present and slot.has_room()]
    return sorted(slots, key=lambda slot: slot.started_at)


def _cause(slot: Slot) -> str:
    if slot.vacated:
        return "recycle"
    return "restart" if slot.incarnations else "start"


def _retiring(cluster: Cluster) -> list[Slot]:
    """Slots whose worker waits for a successor."""
    return [
        slot
        for slot in cluster.wanted()
        if len(slot.present) == 1
        and slot.has_room()
        and any(needs_successor(cluster, worker) for worker in slot.serving)
    ]


def _has_tried_or_may(cluster: Cluster, slot: Slot) -> bool:
    # At first boot a slot that failed waits until the others have tried too.
    return cluster.ever_ready or slot.incarnations == 0


def _may_start(cluster: Cluster, slot: Slot, now: float) -> bool:
    return _has_tried_or_may(cluster, slot) and now >= max(
        slot.not_before, _not_before_probe(cluster)
    )


def _start_replacement(cluster: Cluster, now: float) -> None:
    """Replace planned ones one at a time: two at once would be a herd, and cost two spare seats."""
    if _is_replacing(cluster):
        return
    for slot in _retiring(cluster):
        if now < slot.not_before:
            continue
        (worker,) = slot.serving
        retirement = worker.retirement
        if retirement is not None and retirement.vacate:
            slot.vacated = True
            cluster.drain(worker, now, "recycle")
        else:
            cluster.spawn(slot, now, retirement.reason if retirement else "rollback")
        return


def _is_replacing(cluster: Cluster) -> bool:
    """Whether a seat change is under way in any slot."""
    return any(
        slot.vacated
        or (
            len(slot.present) > 1
            and any(w.phase.is_starting or w.phase is Phase.STANDBY for w in slot.present)
        )
        for slot in cluster.wanted()
    )


def breaker_closes_at(cluster: Cluster) -> float | None:
    """When an open breaker closes, if nobody dies before."""
    opened = cluster.breaker.opened_at
    if opened is None:
        return None
    proven = [
        worker.ready_at
        for worker in cluster.workers()
        if worker.spawned >= opened and worker.ready_at is not None
    ]
    slots = cluster.wanted()
    if all(slot.serving for slot in slots):
        # Those who died were others, such as what a rollback left: nobody is left to try.
        starts = [worker.ready_at or 0.0 for slot in slots for worker in slot.serving]
        proven.append(max(cluster.breaker.deaths[-1], *starts))
    return min(proven) + cluster.policy.stable_after if proven else None


def _close_breaker(cluster: Cluster, now: float) -> None:
    closes_at = breaker_closes_at(cluster)
    if closes_at is None or now < closes_at:
        return
    cluster.breaker.close()
    for slot in cluster.slots.values():
        slot.failures, slot.not_before = 0, now
    cluster.publish(events.BreakerClosed())
