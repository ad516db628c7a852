"""Decide how a stop goes on. Nothing is started after it began; it waits for nobody for ever."""

from tercio.core import events, templates
from tercio.core.cluster import Cluster, Stopping
from tercio.core.inputs import StopAsked
from tercio.core.model import Phase

FORCED_WAIT = 5.0
"""Seconds for killed processes to be reaped; a process in the kernel's hands may take longer."""


def ask(cluster: Cluster, asked: StopAsked, now: float) -> None:
    """Begin to stop; the second time, end at once."""
    if cluster.stopping is None:
        cluster.stopping = Stopping(now)
        policy = cluster.policy
        cluster.rollout = cluster.pending = None
        cluster.cut_requests = cluster.cut_websockets = 0  # the report is about this stop
        cluster.publish(events.StopStarted(policy.stop_delay, policy.stop_timeout))
        if not asked.at_once:
            return
    stopping = cluster.stopping
    if stopping.is_forced:
        return
    stopping.is_forced, stopping.since = True, now
    stopping.exit_code = asked.exit_code
    alive = cluster.workers()
    if alive:
        cluster.publish(events.StopForced(tuple(worker.id for worker in alive)))


def advance(cluster: Cluster, now: float) -> None:
    """Take the stop one step further."""
    stopping = cluster.stopping
    assert stopping is not None
    templates.end_all(cluster, now)
    if stopping.is_forced:
        for worker in cluster.workers():
            cluster.kill(worker, now, "forced stop", is_fault=False)
    else:
        _send_home(cluster, stopping, now)
    end = _end(cluster)
    is_empty = not cluster.workers() and not cluster.templates
    if is_empty or (end is not None and now >= end):
        left = tuple(worker.id for worker in cluster.workers())
        code = stopping.exit_code if stopping.is_forced else int(bool(left))
        if not cluster.has_exited:
            cluster.publish(
                events.Stopped(code, cluster.cut_requests, cluster.cut_websockets, left)
            )
        cluster.exit(code)


def next_deadline(cluster: Cluster) -> float | None:
    """When `advance` has something to do, if nothing else happens."""
    stopping = cluster.stopping
    assert stopping is not None
    if stopping.is_forced or stopping.is_draining:
        return _end(cluster)
    return stopping.since + cluster.policy.stop_delay


def _end(cluster: Cluster) -> float | None:
    """When the primary goes although killed processes are still there; None before the kill."""
    workers = cluster.workers()
    if any(worker.phase is not Phase.DYING for worker in workers):
        return None
    killed = [worker.since for worker in workers]
    killed += [template.since for template in cluster.templates.values()]
    return max(killed, default=0.0) + FORCED_WAIT


def _send_home(cluster: Cluster, stopping: Stopping, now: float) -> None:
    for worker in cluster.workers():
        if worker.phase.is_starting:
            cluster.drain_for_stop(worker, now)  # it serves nobody: no delay
    if stopping.is_draining or now < stopping.since + cluster.policy.stop_delay:
        return
    stopping.is_draining = True
    for worker in cluster.workers():
        if worker.phase is not Phase.DYING:
            cluster.drain_for_stop(worker, now)
