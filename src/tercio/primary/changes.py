"""Wait until workers are as a client wants them: so many, or others than these."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from tercio.core.cluster import Cluster
from tercio.core.events import (
    SpawnFailed,
    WorkerBootFailed,
    WorkerDied,
    WorkerDraining,
    WorkerKilled,
    WorkerServing,
)
from tercio.core.model import Phase, WorkerId
from tercio.errors import ControlError
from tercio.primary.journal import Entry

Emit = Callable[[Mapping[str, object]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Change:
    """That something is so in these slots."""

    slots: Collection[int]
    is_done: Callable[[], bool]
    needs_start: Callable[[], bool]
    """Whether a worker must still be started for it."""
    limit: float
    """Seconds."""
    outlook: str
    """How things go on when it cannot be done now."""


def scaled(cluster: Cluster, target: int) -> Change:
    """So many workers serve, and no others are left."""
    # All slots, not the new ones alone: it may be an old one that cannot start.
    slots = range(target)
    return Change(
        slots,
        is_done=lambda: _is_settled(cluster, target),
        needs_start=lambda: not all(cluster.slot(number).present for number in slots),
        limit=_longest(cluster, 1),
        outlook="it is tried again for as long as the cluster runs",
    )


def recycled(cluster: Cluster, slots: Collection[int], old: Collection[WorkerId]) -> Change:
    """None of the old workers serves any more; to be made once they are told to be replaced."""
    return Change(
        slots,
        is_done=lambda: not any(_serves(cluster, who) for who in old),
        needs_start=lambda: any(_is_alone(cluster, who) for who in old),
        limit=_longest(cluster, _retiring_count(cluster)),
        outlook="the old worker serves on",
    )


async def until(
    change: Change, cluster: Cluster, entries: AsyncIterator[Entry], emit: Emit
) -> None:
    """Show events until a change is done.

    A worker that cannot start in its slots ends the wait, and so does a breaker that lets none
    start, and its time limit. Raises `ControlError` then.
    """
    try:
        async with asyncio.timeout(change.limit) as clock:
            await _watch(change, cluster, entries, emit)
    except TimeoutError as error:
        if not clock.expired():
            raise  # the client reads nothing
        raise ControlError(f"not done after {change.limit:g} s; {change.outlook}") from error


async def _watch(
    change: Change, cluster: Cluster, entries: AsyncIterator[Entry], emit: Emit
) -> None:
    # Workers whose end is no failure to start: they have served, or were told to go, perhaps by an
    # earlier change.
    started = {w.id for w in cluster.workers() if w.serving_at is not None or w.phase.is_leaving}
    while not change.is_done():
        # With nobody left to serve, the breaker holds nothing back.
        if cluster.breaker.is_open and cluster.has_survivor() and change.needs_start():
            deaths = len(cluster.breaker.deaths)
            raise ControlError(
                f"starts are held back after {deaths} early deaths (see `tercio status`; "
                f"`tercio reload` tries at once); {change.outlook}"
            )
        entry = await anext(entries, None)
        if entry is None:
            raise ControlError("the cluster stopped before this was done")
        await emit({"event": entry.to_json()})
        match entry.event:
            case WorkerServing(worker=who) | WorkerDraining(worker=who):
                started.add(who)
            case (
                WorkerBootFailed(worker=who)
                | SpawnFailed(worker=who)
                | WorkerKilled(worker=who)
                | WorkerDied(worker=who)
            ) if who.slot in change.slots and who not in started:
                raise ControlError(f"{entry.event.text}; {change.outlook}")
            case _:
                pass


def _serves(cluster: Cluster, who: WorkerId) -> bool:
    worker = cluster.find(who)
    return worker is not None and not worker.phase.is_leaving


def _is_settled(cluster: Cluster, target: int) -> bool:
    if cluster.target != target:
        return True  # somebody else scaled meanwhile
    serving = [w for w in cluster.workers() if w.phase is Phase.SERVING]
    return len(serving) == target and all(w.id.slot < target for w in cluster.workers())


def _is_alone(cluster: Cluster, who: WorkerId) -> bool:
    """Whether a worker that is to be replaced has no successor yet."""
    return _serves(cluster, who) and len(cluster.slot(who.slot).present) == 1


def _retiring_count(cluster: Cluster) -> int:
    """How many seat changes are before us, ours among them: there is one at a time."""
    return sum(worker.retirement is not None for worker in cluster.workers())


def _longest(cluster: Cluster, turns: int) -> float:
    """How long ``turns`` seat changes may take, one after the other: the bounds of each wait."""
    policy = cluster.policy
    boot = policy.backoff_cap + policy.start_timeout + policy.ready_timeout + policy.kill_grace
    leave = policy.drain_timeout + policy.kill_grace
    limit = turns * (boot + policy.soak + leave)
    if cluster.rollout is not None:  # it goes first
        limit += cluster.rollout.policy.reload_limit(
            cluster.target, is_exact=cluster.rollout.is_exact
        )
    return limit
