"""Rounds of measurements: who is judged, and who is replaced."""

import dataclasses

from tercio.core import events, inputs
from tercio.core.commands import Kill, Publish, Spawn
from tercio.core.events import Event
from tercio.core.health import Beats
from tercio.core.inputs import Sample
from tercio.core.model import WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor

MB = 1_000_000
POLICY = Policy(limit_memory=300 * MB, blocked_kill=30.0, soak=0.0)


class Story:
    """A supervisor with two serving workers, and what it did."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.killed: list[WorkerId] = []
        self.alive: list[WorkerId] = []
        self.supervisor = Supervisor(policy, 2, self.now, lambda: 0.5)
        self.tell(inputs.Tick())
        self.get_on()

    def tell(self, item: inputs.Input) -> None:
        for command in self.supervisor.handle(item, self.now):
            match command:
                case Publish(event):
                    self.events.append(event)
                case Kill(worker):
                    self.killed.append(worker)
                case Spawn(worker):
                    self.alive.append(worker)

    def get_on(self) -> None:
        for who in tuple(self.alive):
            self.tell(inputs.Loaded(who))
            self.tell(inputs.Ready(who))

    def gone(self, who: WorkerId) -> None:
        self.alive.remove(who)
        self.tell(inputs.Exited(who, "exited with 0"))

    def measure(
        self,
        used: dict[int, int],
        *,
        age: float = 0.1,
        later: float = 1.0,
        headroom: int | None = None,
    ) -> None:
        """A round, ``used`` by slot."""
        self.now += later
        samples = tuple(
            Sample(who, Beats(age, age / 2), used_bytes=used.get(who.slot)) for who in self.alive
        )
        self.tell(inputs.Sampled(samples, headroom))

    def planned(self) -> list[events.RetirementPlanned]:
        return [e for e in self.events if isinstance(e, events.RetirementPlanned)]


def test_old_beats_kill_when_the_judge_was_on_time() -> None:
    story = Story()
    for _ in range(4):
        story.measure({}, age=31.0)
    assert len(story.killed) == 2


def test_a_late_judge_blames_nobody_for_a_period() -> None:
    policy = dataclasses.replace(POLICY, sample_interval=0.2)
    story = Story(policy)
    for _ in range(10):
        story.measure({}, later=0.2)
    # All were frozen together; afterwards the loops' beats take up to a second to come back.
    story.measure({}, age=60.0, later=60.0)
    for _ in range(4):
        story.measure({}, age=60.0, later=0.2)
    for _ in range(10):
        story.measure({}, later=0.2)
    assert not story.killed


def test_a_stopped_writer_of_the_state_dies_whatever_the_policy_and_nobody_else() -> None:
    story = Story(dataclasses.replace(POLICY, blocked_kill=0.0, stopped_kill=0.0))
    for _ in range(3):
        story.measure({})
    writer, waiter = story.alive[:2]
    stopped = Beats(1.2, 1.2, is_stopped=True, holding_age=1.1)
    samples = (
        Sample(writer, stopped),
        Sample(waiter, dataclasses.replace(stopped, holding_age=None)),
    )
    story.now += 0.2
    story.tell(inputs.Sampled(samples))
    assert story.killed == [writer]
    killed = [event for event in story.events if isinstance(event, events.WorkerKilled)]
    assert "while it wrote the shared state" in killed[0].reason


def test_a_late_judge_blames_no_writer_either() -> None:
    story = Story(dataclasses.replace(POLICY, sample_interval=0.2))
    for _ in range(10):
        story.measure({}, later=0.2)
    story.now += 60.0
    frozen = Beats(60.0, 60.0, is_stopped=True, holding_age=60.0)
    story.tell(inputs.Sampled(tuple(Sample(who, frozen) for who in story.alive)))
    assert not story.killed


def test_two_over_the_limit_are_replaced_one_after_the_other() -> None:
    story = Story()
    story.measure({0: 100 * MB, 1: 100 * MB})
    story.measure({0: 301 * MB, 1: 301 * MB})
    assert not story.planned()
    story.measure({0: 302 * MB, 1: 302 * MB})
    assert [event.worker for event in story.planned()] == [WorkerId(0, 1), WorkerId(1, 1)]
    assert story.alive[2:] == [WorkerId(0, 2)]
    story.get_on()
    story.tell(inputs.Tick())
    assert story.alive[3:] == [WorkerId(1, 2)]


def test_whether_there_is_room_for_two_is_decided_when_its_turn_comes() -> None:
    story = Story()
    fresh = {0: 100 * MB, 1: 100 * MB}
    story.measure(fresh, headroom=500 * MB)
    over = {0: 310 * MB, 1: 310 * MB}
    story.measure(over, headroom=80 * MB)
    story.measure(over, headroom=80 * MB)
    assert [event.vacates_first for event in story.planned()] == [True, True]
    # The first leaves before its successor starts, and takes its 310 MB with it.
    assert len(story.alive) == 2
    story.measure(over, headroom=390 * MB)
    assert [event.vacates_first for event in story.planned()] == [True, True, False]
    story.gone(WorkerId(0, 1))
    assert story.alive == [WorkerId(1, 1), WorkerId(0, 2)]
    story.tell(inputs.Tick())
    story.get_on()
    story.tell(inputs.Tick())
    assert story.alive == [WorkerId(1, 1), WorkerId(0, 2), WorkerId(1, 2)]


def test_only_one_slot_at_a_time_is_without_a_worker_for_lack_of_room() -> None:
    story = Story()
    story.measure({0: 100 * MB, 1: 100 * MB}, headroom=500 * MB)
    for _ in range(2):
        story.measure({0: 310 * MB, 1: 310 * MB}, headroom=10 * MB)
    story.gone(WorkerId(0, 1))
    for _ in range(3):  # its successor boots, and there still is no room
        story.measure({1: 310 * MB}, headroom=10 * MB)
    assert story.supervisor.cluster.ready_count() == 1
    story.get_on()
    assert story.supervisor.cluster.ready_count() == 1
    story.gone(WorkerId(1, 1))
    story.get_on()
    assert story.supervisor.cluster.ready_count() == 2


def test_a_reload_in_the_middle_of_a_seat_change_begins_at_once() -> None:
    story = Story(dataclasses.replace(POLICY, soak=2.0))
    story.tell(inputs.RecycleAsked((0,)))
    story.get_on()  # 0.2 soaks beside 0.1, and a third process has no room
    story.tell(inputs.ReloadAsked(1, 1, POLICY))
    story.gone(WorkerId(0, 2))
    for _ in range(8):
        story.get_on()
        story.now += 2.0
        story.tell(inputs.Tick())
    assert [e.generation for e in story.events if isinstance(e, events.ReloadCommitted)] == [2]


def test_headroom_for_a_fresh_worker_is_enough_for_a_seat_change() -> None:
    story = Story()
    story.measure({0: 100 * MB, 1: 100 * MB}, headroom=500 * MB)
    for _ in range(2):
        story.measure({0: 400 * MB, 1: 100 * MB}, headroom=200 * MB)
    assert [event.vacates_first for event in story.planned()] == [False]


def test_a_limit_below_what_a_fresh_worker_takes_is_told_once_and_replaces_nobody() -> None:
    story = Story()
    for _ in range(20):
        story.measure({0: 320 * MB, 1: 200 * MB})
    told = [event for event in story.events if isinstance(event, events.LimitTooLow)]
    assert told == [events.LimitTooLow(WorkerId(0, 1), 320 * MB, 300 * MB)]
    assert not story.planned()
