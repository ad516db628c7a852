"""What a rolling reload left behind is a good release, until a whole one takes its place."""

from tercio.core import inputs
from tercio.core.commands import Drain, Serve, Spawn
from tercio.core.model import Phase, WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor

POLICY = Policy(soak=1.0, trial=1.0)


class Story:
    """A supervisor whose processes do at once what they are told."""

    def __init__(self, target: int) -> None:
        self.now = 1000.0
        self.boots = True
        self.supervisor = Supervisor(POLICY, target, self.now, lambda: 0.5)
        self.tell(inputs.Tick())

    def tell(self, item: inputs.Input) -> None:
        for command in self.supervisor.handle(item, self.now):
            match command:
                case Spawn(worker) if self.boots:
                    self.tell(inputs.Loaded(worker))
                    self.tell(inputs.Ready(worker))
                case Drain(worker):
                    self.tell(inputs.Exited(worker, "exited with 0"))
                case Serve():
                    pass

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.tell(inputs.Tick())

    def serving(self) -> dict[int, int]:
        """Slot to generation."""
        slots = self.supervisor.cluster.slots.values()
        return {slot.number: w.generation for slot in slots for w in slot.serving}

    def worker(self, slot: int, phase: Phase) -> WorkerId:
        workers = self.supervisor.cluster.slots[slot].workers
        return next(w.id for w in workers if w.phase is phase)


def reload(number: int, *, has_room: bool) -> inputs.ReloadAsked:
    return inputs.ReloadAsked(number, number, POLICY, None if has_room else 1, 100)


def half_rolled() -> Story:
    """Slot 0 runs generation 2 for good, slot 1 generation 1: the rolling reload failed there."""
    story = Story(2)
    story.later(20.0)
    story.tell(reload(1, has_room=False))  # slot 0 boots its successor
    story.boots = False
    story.later(1.0)  # it takes over; slot 1 starts its own, which stays booting
    story.tell(inputs.Exited(story.worker(1, Phase.BOOTING), "exited with 70"))
    story.boots = True
    assert story.serving() == {0: 2, 1: 1}
    return story


def test_a_rejected_reload_brings_back_what_a_rolling_one_had_left() -> None:
    story = half_rolled()
    story.tell(reload(2, has_room=True))
    story.later(0.5)
    story.later(1.5)
    assert story.serving() == {0: 3, 1: 3}  # on trial
    story.tell(inputs.Exited(story.worker(1, Phase.SERVING), "killed by SIGSEGV"))
    assert story.serving() == {0: 2, 1: 1}


def test_a_whole_reload_replaces_it() -> None:
    story = half_rolled()
    story.tell(reload(2, has_room=True))
    for _ in range(6):
        story.later(0.6)
    assert story.serving() == {0: 3, 1: 3}
    assert len(story.supervisor.cluster.workers()) == 2


def test_fingerprints_of_gone_generations_are_forgotten() -> None:
    story = Story(1)
    for number in range(1, 30):
        story.tell(reload(number, has_room=True))
        for _ in range(4):
            story.later(1.0)
    assert story.supervisor.cluster.generation == 30
    assert len(story.supervisor.cluster.fingerprints) <= 2
