"""The supervisor: facts in, commands out. Pure: no clock, no I/O, no hidden randomness.

`handle` stores what an input tells, then compares what is with what is wanted. It scripts no path,
so a stop, a crash or a second reload in the middle of anything is only the next input. An input
that comes twice, late, or about a worker long gone changes nothing.

Invariants, kept by tests/core/test_supervisor_properties.py:
- a reload, recycle or scale-up never takes a ready worker away before its successor serves;
- at most two processes live in a slot;
- a reload ends in one generation: the new one, or on any failure the old one;
- one reload runs, at most one waits;
- the crash of some slots stops no other, and a slot that cannot boot is retried for ever;
- nothing is started after a stop, and it ends with no process left;
- a generation has at most one template, and workers are forked from one that is ready.
"""

from typing import assert_never

from tercio.core import events, inputs, reload, retire, seats, starts, stopping, templates
from tercio.core.cluster import Cluster, Stopping
from tercio.core.commands import Command
from tercio.core.inputs import Input
from tercio.core.model import Phase, Retirement, Slot, Worker
from tercio.core.policy import Policy
from tercio.core.restarts import Draw


class Supervisor:
    """Decides everything about workers. The primary carries out what it returns."""

    def __init__(self, policy: Policy, target: int, now: float, draw: Draw) -> None:
        self.cluster = Cluster(policy, target, draw, now)

    def handle(self, item: Input, now: float) -> list[Command]:
        """Take one input at monotonic time ``now`` and return what to do, in order."""
        self._absorb(item, now)
        self._reconcile(now)
        commands, self.cluster.outbox = self.cluster.outbox, []
        return commands

    def next_deadline(self) -> float | None:
        """When to call `handle` with a `Tick`, if nothing else happens before."""
        cluster = self.cluster
        if cluster.has_exited:
            return None
        times = [worker.deadline for worker in cluster.workers()]
        times.append(templates.next_deadline(cluster))
        if cluster.stopping is not None:
            times.append(stopping.next_deadline(cluster))
        else:
            times += [reload.next_deadline(cluster), starts.next_start(cluster)]
            times += [self._soak_end(slot) for slot in cluster.wanted()]
            times.append(starts.breaker_closes_at(cluster))
        return min((time for time in times if time is not None), default=None)

    # What is told

    def _absorb(self, item: Input, now: float) -> None:
        match item:
            case inputs.Tick():
                pass
            case inputs.Loaded():
                self._loaded(item, now)
            case inputs.Ready():
                self._ready(item, now)
            case inputs.BootFailed():
                self._boot_failed(item, now)
            case inputs.SpawnRefused():
                self._spawn_refused(item, now)
            case inputs.NotForked():
                self._not_forked(item)
            case inputs.TemplateLoaded():
                templates.loaded(self.cluster, item, now)
            case inputs.TemplateFailed():
                templates.failed(self.cluster, item, now)
            case inputs.TemplateEnded():
                templates.ended(self.cluster, item, now)
            case inputs.Exited():
                self._exited(item, now)
            case inputs.Cut():
                self._cut(item)
            case inputs.ReplacementAsked():
                worker = self.cluster.find(item.worker)
                if worker is not None:
                    self._retire(worker, item.reason)
            case inputs.RecycleAsked():
                for number in item.slots:
                    for worker in self.cluster.slot(number).serving:
                        self._retire(worker, "asked for by `tercio recycle`")
            case inputs.ReloadAsked():
                if self.cluster.stopping is None:
                    reload.ask(self.cluster, item, now)
            case inputs.ScaleAsked():
                self._scale(item)
            case inputs.StopAsked():
                stopping.ask(self.cluster, item, now)
            case inputs.Sampled():
                retire.take(self.cluster, item, now)
            case _:
                assert_never(item)

    def _loaded(self, item: inputs.Loaded, now: float) -> None:
        worker = self.cluster.find(item.worker)
        if worker is None or worker.phase is not Phase.BOOTING:
            return
        policy = self.cluster.policy_for(worker.generation)
        worker.loaded = item.fingerprint
        # The worker gives up by itself and says what the app answered; this is the belt.
        worker.enter(Phase.PROBING, now, now + policy.ready_timeout + policy.kill_grace)
        if not item.fingerprint:
            return
        expected = self.cluster.fingerprints.setdefault(worker.generation, item.fingerprint)
        if expected != item.fingerprint:
            self.cluster.publish(
                events.FilesChanged(worker.id, worker.generation, item.fingerprint, expected)
            )

    def _ready(self, item: inputs.Ready, now: float) -> None:
        worker = self.cluster.find(item.worker)
        if worker is None or not worker.phase.is_starting:
            return
        worker.enter(Phase.STANDBY, now)
        worker.ready_at = now
        worker.fresh_bytes = item.used_bytes
        self.cluster.ever_ready = True
        self.cluster.publish(events.WorkerReady(worker.id, worker.generation, now - worker.spawned))

    def _boot_failed(self, item: inputs.BootFailed, now: float) -> None:
        worker = self.cluster.find(item.worker)
        if worker is None or worker.ready_at is not None or worker.fault is not None:
            return
        worker.fault, worker.traceback = item.error, item.traceback
        self.cluster.publish(
            events.WorkerBootFailed(worker.id, item.stage, item.error, item.traceback)
        )
        # It exits by itself now; one that cannot is ended.
        if not worker.phase.is_leaving:
            worker.deadline = min(worker.deadline or now, now + self.cluster.policy.kill_grace)

    def _spawn_refused(self, item: inputs.SpawnRefused, now: float) -> None:
        worker = self.cluster.find(item.worker)
        if worker is None:
            return
        worker.fault = worker.fault or f"could not be started: {item.error}"
        self.cluster.publish(events.SpawnFailed(worker.id, item.error))
        self._bury(worker, now, worker.fault)

    def _not_forked(self, item: inputs.NotForked) -> None:
        worker = self.cluster.find(item.worker)
        if worker is not None:
            self._remove(worker)
            reason = worker.departure or "its template is gone"
            self.cluster.publish(events.WorkerLeft(worker.id, reason, "it never began"))

    def _cut(self, item: inputs.Cut) -> None:
        self.cluster.cut_requests += item.requests
        self.cluster.cut_websockets += item.websockets
        self.cluster.publish(
            events.RequestsCut(item.worker, item.requests, item.websockets, item.paths)
        )

    def _exited(self, item: inputs.Exited, now: float) -> None:
        worker = self.cluster.find(item.worker)
        if worker is None:
            return
        is_planned = worker.departure is not None and worker.fault is None
        if is_planned and worker.phase.is_leaving:
            self._remove(worker)
            if item.in_flight or item.websockets:
                # It was ended before it could report what it cut.
                self._cut(inputs.Cut(worker.id, item.in_flight, item.websockets))
            reason = worker.departure or "replaced"
            self.cluster.publish(events.WorkerLeft(worker.id, reason, item.status, item.moved))
            return
        phase = "being killed" if worker.phase is Phase.DYING else worker.phase.value
        self.cluster.publish(
            events.WorkerDied(
                worker.id, item.status, item.note, now - worker.spawned, phase, item.in_flight
            )
        )
        worker.traceback = worker.traceback or item.traceback
        said = worker.fault or item.note
        self._bury(worker, now, f"{item.status}: {said}" if said else item.status)

    def _bury(self, worker: Worker, now: float, error: str) -> None:
        """An unplanned death: remember why, let it cost, and let a reload know."""
        slot = self.cluster.slot(worker.id.slot)
        was_leaving = worker.phase is Phase.DRAINING
        self._remove(worker)
        slot.record_error(error, worker.traceback)
        rollout = self.cluster.rollout
        if rollout is not None and worker.generation == rollout.generation:
            rollout.fail(f"worker {worker.id}: {error}", worker.traceback)
            if self.cluster.policy.is_development:
                slot.not_before = now + starts.UNTIL_A_CHANGE  # the same file would fail again
        elif not was_leaving and self._is_wanted(slot):
            starts.note_death(self.cluster, slot, worker, now)

    def _is_wanted(self, slot: Slot) -> bool:
        return self.cluster.stopping is None and slot.number < self.cluster.target

    def _remove(self, worker: Worker) -> None:
        self.cluster.slot(worker.id.slot).workers.remove(worker)
        self.cluster.memory.pop(worker.id, None)
        self.cluster.allowances.pop(worker.id, None)

    def _retire(self, worker: Worker, reason: str) -> None:
        if worker.retirement is None and not worker.phase.is_leaving:
            self.cluster.retire(worker, Retirement(reason, is_automatic=False))

    def _scale(self, item: inputs.ScaleAsked) -> None:
        cluster = self.cluster
        if cluster.stopping is not None or item.target == cluster.target:
            return
        if not 1 <= item.target <= cluster.policy.max_workers:
            cluster.publish(events.ScaleRefused(item.target, cluster.policy.max_workers))
            return
        cluster.publish(events.Scaled(cluster.target, item.target))
        cluster.target = item.target
        cluster.policy = cluster.policy.for_target(item.target)

    # What follows

    def _reconcile(self, now: float) -> None:
        cluster = self.cluster
        if cluster.has_exited:
            return
        seats.expire(cluster, now)
        templates.expire(cluster, now)
        if cluster.stopping is None:
            self._pursue(now)
            self._give_up_or_go_on(now)
        if cluster.stopping is not None:
            stopping.advance(cluster, now)

    def _pursue(self, now: float) -> None:
        """Bring the cluster nearer to what is wanted."""
        cluster = self.cluster
        reload.advance(cluster, now)
        for slot in list(cluster.slots.values()):
            seats.settle(cluster, slot, now)
        reload.begin_pending(cluster, now)
        templates.advance(cluster, now)
        starts.start(cluster, now)
        if not cluster.was_complete and cluster.ready_count() >= cluster.target:
            cluster.was_complete = True
            cluster.publish(events.ClusterReady(cluster.target, now - cluster.started))

    def _give_up_or_go_on(self, now: float) -> None:
        cluster = self.cluster
        is_loop = cluster.policy.exit_on_crash_loop and starts.is_crash_loop(cluster)
        if not is_loop and not starts.has_given_up(cluster):
            return
        newest = max(cluster.slots.values(), key=lambda slot: slot.started_at)
        cluster.publish(events.StartGivenUp(newest.last_error, newest.last_traceback))
        cluster.stopping = Stopping(now, exit_code=1, is_forced=True)

    def _soak_end(self, slot: Slot) -> float | None:
        """When a standby worker outside of a reload takes over."""
        if self.cluster.rollout is not None or not slot.serving:
            return None
        soak = self.cluster.policy.soak
        ends = [
            worker.ready_at + soak
            for worker in slot.present
            if worker.phase is Phase.STANDBY and worker.ready_at is not None
        ]
        return min(ends, default=None)
