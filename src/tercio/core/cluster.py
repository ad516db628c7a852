"""All that the supervisor knows, and its hands: each action changes a record and emits a command.

Actions decide nothing; `seats`, `starts`, `reload`, `retire` and `stopping` do.
"""

from dataclasses import dataclass, field

from tercio.core import commands, events
from tercio.core.leaks import MemoryHistory
from tercio.core.model import Phase, Retirement, Slot, Worker, WorkerId
from tercio.core.policy import Policy
from tercio.core.restarts import Breaker, Draw
from tercio.core.rollout import Rollout
from tercio.core.template import Template, TemplatePhase

RELOAD_CLOSE_CODE = 1012  # RFC 6455 registry: service restart
STOP_CLOSE_CODE = 1001  # going away

KILL_AGAIN = 5.0
"""Seconds after which a process that was killed and is still there is killed once more."""


@dataclass(slots=True)
class Stopping:
    """A stop in progress."""

    since: float
    exit_code: int = 0
    is_forced: bool = False
    is_draining: bool = False


@dataclass(slots=True)
class PendingReload:
    """Reloads asked for while one runs: however many, they become one."""

    requests: list[int]
    revision: int
    policy: Policy
    is_exact: bool


@dataclass(slots=True)
class Cluster:
    """The facts. ``target`` slots are wanted, numbered from 0."""

    policy: Policy
    target: int
    draw: Draw
    started: float
    generation: int = 1  # what was committed last
    newest: int = 1  # the highest number given out
    revision: int = 0  # which options the committed generation runs with
    slots: dict[int, Slot] = field(default_factory=dict)
    templates: dict[int, Template] = field(default_factory=dict)  # by generation
    breaker: Breaker = field(default_factory=Breaker)
    rollout: Rollout | None = None
    pending: PendingReload | None = None
    stopping: Stopping | None = None
    is_rejected: bool = False  # the files on disk are those of a rejected release
    ever_ready: bool = False
    was_complete: bool = False  # all wanted workers served at once, one time at least
    fingerprints: dict[int, str] = field(default_factory=dict)
    memory: dict[WorkerId, MemoryHistory] = field(default_factory=dict)
    allowances: dict[WorkerId, float] = field(default_factory=dict)  # jitter of its limits
    last_sampled: float | None = None
    judges_from: float = 0.0  # whoever judges was late; beats may be old for the same reason
    cut_requests: int = 0
    cut_websockets: int = 0
    last_reload: events.Event | None = None
    outbox: list[commands.Command] = field(default_factory=list)
    has_exited: bool = False

    # What is

    def wanted(self) -> list[Slot]:
        """The slots that ought to serve, in order."""
        return [self.slot(number) for number in range(self.target)]

    def slot(self, number: int) -> Slot:
        """The slot of that number, made on first use: it outlives all its processes."""
        if number not in self.slots:
            self.slots[number] = Slot(number)
        return self.slots[number]

    def workers(self) -> list[Worker]:
        """All living processes."""
        return [worker for slot in self.slots.values() for worker in slot.workers]

    def find(self, who: WorkerId) -> Worker | None:
        """The living worker of that id; None for one long gone."""
        slot = self.slots.get(who.slot)
        return next((w for w in slot.workers if w.id == who), None) if slot else None

    def is_debugged(self) -> bool:
        """Whether a person is at a debugger's prompt, in development."""
        return any(worker.is_at_prompt for worker in self.workers())

    def ready_count(self) -> int:
        """How many workers take connections."""
        return sum(len(slot.serving) > 0 for slot in self.slots.values())

    def has_survivor(self) -> bool:
        """Whether anybody is ready who was not told to go."""
        return any(w.ready_at is not None and not w.phase.is_leaving for w in self.workers())

    def next_generation_to_start(self) -> tuple[int, int]:
        """Generation and revision of a worker that is started now."""
        if self.rollout is not None:
            return self.rollout.generation, self.rollout.revision
        return self.generation, self.revision

    def can_fork(self, generation: int) -> bool:
        """Whether a template of that generation is ready."""
        template = self.templates.get(generation)
        return template is not None and template.phase is TemplatePhase.READY

    def starts_what_was_committed(self) -> bool:
        """Whether a worker that is started now is of the committed release for certain."""
        is_kept = bool(self.policy.release_dir) or self.can_fork(self.generation)
        return is_kept or not self.is_rejected

    def policy_for(self, generation: int) -> Policy:
        """The figures that a worker of ``generation`` goes by: a reload brings its own."""
        if self.rollout is not None and self.rollout.generation == generation:
            return self.rollout.policy
        return self.policy

    # What is done

    def publish(self, event: events.Event) -> None:
        self.outbox.append(commands.Publish(event))

    def spawn(self, slot: Slot, now: float, cause: str) -> None:
        """Start a worker in ``slot``. The caller has checked that there is room."""
        generation, revision = self.next_generation_to_start()
        slot.incarnations += 1
        slot.started_at = now
        who = WorkerId(slot.number, slot.incarnations)
        worker = Worker(
            id=who,
            seat=slot.free_seat(),
            generation=generation,
            phase=Phase.BOOTING,
            since=now,
            spawned=now,
            deadline=now + self.policy_for(generation).start_timeout,
        )
        slot.workers.append(worker)
        self.publish(events.WorkerStarting(who, generation, cause))
        is_forked = self.can_fork(generation)
        if not is_forked and self.policy_for(generation).uses_template:
            self.publish(events.TemplateMissed(who, generation))
        self.outbox.append(commands.Spawn(who, worker.seat, generation, revision, is_forked))

    def serve(self, worker: Worker, now: float) -> None:
        """Let it take connections."""
        worker.enter(Phase.SERVING, now)
        worker.serving_at = now
        self.slot(worker.id.slot).vacated = False
        self.outbox.append(commands.Serve(worker.id))
        self.publish(events.WorkerServing(worker.id, worker.generation))

    def park(self, worker: Worker, now: float) -> None:
        """Let it take nothing new."""
        worker.enter(Phase.PARKED, now)
        self.outbox.append(commands.Park(worker.id))
        self.publish(events.WorkerParked(worker.id))

    def drain(self, worker: Worker, now: float, reason: str) -> None:
        """Let it finish and go. One that has not begun to serve has nothing to finish."""
        has_work = worker.serving_at is not None
        limit = self.policy.drain_timeout if has_work else 0.0
        slot = self.slot(worker.id.slot)
        heirs = tuple(other.seat for other in slot.serving if other is not worker)
        self._send_away(worker, now, reason, limit, RELOAD_CLOSE_CODE, heirs=heirs)

    def drain_for_stop(self, worker: Worker, now: float) -> None:
        """Let it finish within the stop's limit, also when it drains already."""
        has_work = worker.serving_at is not None
        limit = self.policy.stop_timeout if has_work else 0.0
        if worker.phase is Phase.DRAINING and worker.deadline is not None:
            limit = min(limit, max(0.0, worker.deadline - self.policy.kill_grace - now))
        self._send_away(worker, now, "stop", limit, STOP_CLOSE_CODE, at_once=True)

    def kill(self, worker: Worker, now: float, reason: str, *, is_fault: bool) -> None:
        """End it now. ``is_fault``: the worker is to blame, so its death counts as one."""
        if worker.phase is Phase.DYING:
            return
        if is_fault:
            worker.fault = worker.fault or reason
        else:
            worker.departure = worker.departure or reason
        worker.enter(Phase.DYING, now, now + KILL_AGAIN)
        self.outbox.append(commands.Kill(worker.id, reason))
        self.publish(events.WorkerKilled(worker.id, reason))

    def kill_again(self, worker: Worker, now: float) -> None:
        """It ought to be gone: the kernel holds it, or somebody stands in the way."""
        worker.deadline = now + KILL_AGAIN
        self.outbox.append(commands.Kill(worker.id, "it is still there"))

    def retire(self, worker: Worker, retirement: Retirement) -> None:
        """Mark a worker for a seat change."""
        worker.retirement = retirement
        self.slot(worker.id.slot).reasons.append(retirement.reason)
        self.publish(events.RetirementPlanned(worker.id, retirement.reason, retirement.vacate))

    def forget_fingerprints(self) -> None:
        """Keep those of generations that live or may be started again."""
        alive = {worker.generation for worker in self.workers()} | {self.generation}
        for generation in self.fingerprints.keys() - alive:
            del self.fingerprints[generation]

    def exit(self, code: int) -> None:
        """End the primary. Only called when no process lives."""
        if not self.has_exited:
            self.has_exited = True
            self.outbox.append(commands.Exit(code))

    def _send_away(
        self,
        worker: Worker,
        now: float,
        reason: str,
        limit: float,
        close_code: int,
        *,
        at_once: bool = False,
        heirs: tuple[int, ...] | None = None,
    ) -> None:
        worker.departure = worker.departure or reason
        worker.enter(Phase.DRAINING, now, now + limit + self.policy.kill_grace)
        drain = commands.Drain(worker.id, reason, limit, close_code, at_once, heirs)
        self.outbox.append(drain)
        self.publish(events.WorkerDraining(worker.id, reason, limit))
