"""A reload in progress: a record, and the questions that decide how it goes on. Pure.

It is a field of the supervisor and not a stack frame, so that a stop, a crash or another reload
is just the next input. Stages:

  BOOT    each slot starts a successor beside its worker, `surge` at a time, the first alone (the
          canary). Successors soak: they stay ready for `soak` seconds without taking anything.
  TRIAL   all have soaked. Successors serve, predecessors are parked, for `trial` seconds.
  commit  the parked ones drain.

A failure in BOOT costs no request, because nobody talked to the new release. A failure in TRIAL
un-parks the predecessors. Either way rollback starts nothing, so it is exact although the files on
disk are new already.

When memory is short the reload is *rolling*: each slot changes as soon as its own successor has
soaked, its predecessor leaves at once, and the next slot waits until that one is gone. Its rollback
is not exact, and the events say so.
"""

from dataclasses import dataclass
from enum import Enum

from tercio.core.model import Phase, Slot, Worker
from tercio.core.policy import Policy


class Stage(Enum):
    """How far a reload is."""

    BOOT = "boot"
    TRIAL = "trial"


@dataclass(slots=True)
class Rollout:
    """One reload."""

    generation: int
    revision: int
    policy: Policy
    requests: tuple[int, ...]
    started: float
    deadline: float
    is_exact: bool
    stage: Stage = Stage.BOOT
    trial_since: float | None = None
    failure: str | None = None
    traceback: str = ""

    def fail(self, reason: str, traceback: str = "") -> None:
        """Keep the first failure: later ones follow from it."""
        if self.failure is None:
            self.failure, self.traceback = reason, traceback

    def successor(self, slot: Slot) -> Worker | None:
        """The slot's worker of the new generation."""
        ours = (worker for worker in slot.present if worker.generation == self.generation)
        return next(ours, None)

    def predecessor(self, slot: Slot) -> Worker | None:
        """The slot's serving worker of an older generation."""
        older = (worker for worker in slot.serving if worker.generation != self.generation)
        return next(older, None)

    def soaked_at(self, slots: list[Slot]) -> float | None:
        """When the last successor will have soaked; None while one is not ready."""
        successors = [self.successor(slot) for slot in slots]
        ready = [s.ready_at for s in successors if s is not None and s.ready_at is not None]
        return max(ready) + self.policy.soak if ready and len(ready) == len(slots) else None

    def tried_at(self, slots: list[Slot]) -> float | None:
        """When the trial ends; None while a successor does not serve."""
        if self.trial_since is None:
            return None
        began = self.trial_since
        for slot in slots:
            worker = self.successor(slot)
            if worker is None or worker.phase is not Phase.SERVING or worker.serving_at is None:
                return None
            began = max(began, worker.serving_at)
        return began + self.policy.trial

    def next_slots(self, slots: list[Slot]) -> list[Slot]:
        """Slots that may start a successor now.

        Only successors that boot beside a serving worker count against `surge`: a slot without one
        has nothing to protect, and holding it back would only lengthen the gap. Once a successor
        has a fault, its death will end the reload: nothing more is started for it.
        """
        ours = [w for slot in slots for w in slot.workers if w.generation == self.generation]
        if any(worker.fault is not None for worker in ours):
            return []
        successors = [self.successor(slot) for slot in slots]
        booting = sum(
            1
            for slot, worker in zip(slots, successors, strict=True)
            if worker is not None and worker.phase.is_starting and self.predecessor(slot)
        )
        canary_is_ready = any(s is not None and s.ready_at is not None for s in successors)
        free = (self.policy.surge if canary_is_ready else 1) - booting
        if not self.is_exact:
            # There is memory for one more process, and whoever soaks or drains has it.
            free = 0 if any(len(slot.workers) > 1 for slot in slots) else 1
        chosen: list[Slot] = []
        for slot, worker in zip(slots, successors, strict=True):
            if worker is not None or not slot.has_room():
                continue
            if self.predecessor(slot) is None:
                chosen.append(slot)
            elif free > 0:
                free -= 1
                chosen.append(slot)
        return chosen
