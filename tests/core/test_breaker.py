"""An open breaker holds slots back only while there is somebody to protect."""

from tercio.core import events, inputs
from tercio.core.commands import Kill, Publish, Spawn
from tercio.core.events import Event
from tercio.core.model import WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor
from tests.core.machine import core_of
from tests.core.world import World


class Story:
    """A cluster of which everybody or nearly everybody dies, again and again."""

    def __init__(self, target: int, policy: Policy) -> None:
        self.now = 1000.0
        self.supervisor = Supervisor(policy, target, self.now, lambda: 0.0)
        self.events: list[Event] = []
        self.kills: list[WorkerId] = []
        self.starts: list[float] = []
        self.alive: list[WorkerId] = []
        self.tell(inputs.Tick())

    def tell(self, item: inputs.Input) -> None:
        for command in self.supervisor.handle(item, self.now):
            match command:
                case Spawn(worker):
                    self.starts.append(self.now)
                    self.alive.append(worker)
                    self.tell(inputs.Loaded(worker))
                    self.tell(inputs.Ready(worker))
                case Publish(event):
                    self.events.append(event)
                case Kill(worker):
                    self.kills.append(worker)

    def kill(self, *slots: int) -> None:
        for who in [who for who in self.alive if who.slot in slots]:
            self.alive.remove(who)
            self.tell(inputs.Exited(who, "killed by SIGKILL"))

    def until(self, end: float) -> None:
        while (deadline := self.supervisor.next_deadline()) is not None and deadline <= end:
            self.now = deadline
            self.tell(inputs.Tick())
        self.now = end

    def is_open(self) -> bool:
        return self.supervisor.cluster.breaker.is_open


def test_with_nobody_left_slots_come_back_after_their_own_back_off() -> None:
    story = Story(4, Policy(breaker_deaths=4))
    story.kill(0, 1, 2, 3)
    assert story.is_open()
    story.until(story.now + 0.2)
    assert len(story.alive) >= 1
    story.until(story.now + 12.0)  # the first one stayed ready: all start again
    assert len(story.alive) == 4
    assert not story.is_open()


def test_while_one_serves_the_others_take_turns() -> None:
    story = Story(4, Policy(breaker_deaths=3))
    story.until(story.now + 1.0)
    story.kill(1, 2, 3)
    assert story.is_open()
    began = story.now
    story.until(began + 29.9)
    assert [who.slot for who in story.alive] == [0]
    story.until(began + 30.1)
    assert len(story.alive) == 2


def test_late_deaths_of_what_a_rollback_left_do_not_keep_it_open() -> None:
    """Else nothing would replace the workers of a rejected release, with every slot served."""
    policy = Policy(breaker_deaths=3)
    world = World(core_of("tercio.core"), Supervisor(policy, 1, 1000.0, lambda: 0.0))
    first, canary = WorkerId(0, 1), WorkerId(0, 2)
    world.tell(inputs.Tick())
    get_on(world, first)
    for number in (1, 2):  # the second one waits for the first
        world.tell(inputs.ReloadAsked(number, number, policy))
    get_on(world, canary)
    world.tell(inputs.ScaleAsked(5))
    world.now += policy.start_timeout
    world.tell(inputs.Tick())
    world.die(WorkerId(1, 1), "killed")  # the first is rejected, and the second begins
    world.now += 1.0  # the second generation has been started by now
    world.die(canary, "exited with 0")
    for slot in (2, 3, 4):
        world.die(WorkerId(slot, 1), "killed")
    assert world.supervisor.cluster.breaker.is_open
    for slot in (1, 2, 3, 4):
        get_on(world, WorkerId(slot, 2))
    world.now += policy.start_timeout
    world.tell(inputs.Tick())
    world.die(WorkerId(0, 3), "killed")
    assert {p.generation for p in world.processes.values()} == {1, 3}
    assert not world.supervisor.cluster.breaker.is_open
    for slot in (1, 2, 3, 4):
        get_on(world, WorkerId(slot, 3))
        world.now += policy.soak
        world.tell(inputs.Tick())
        world.die(WorkerId(slot, 2), "exited with 0")
    assert {p.generation for p in world.processes.values()} == {1}


def get_on(world: World, who: WorkerId) -> None:
    world.tell(inputs.Loaded(who))
    world.processes[who].state, world.processes[who].ready_at = "ready", world.now
    world.tell(inputs.Ready(who))


def test_a_killed_process_that_stays_is_killed_again_and_cannot_hold_a_stop() -> None:
    story = Story(1, Policy(stop_timeout=2.0))
    story.tell(inputs.StopAsked())
    story.until(story.now + 3.5)
    assert len(story.kills) == 1
    story.until(story.now + 5.5)
    assert len(story.kills) >= 2
    assert any(isinstance(event, events.Stopped) for event in story.events)


def test_a_shared_memory_limit_follows_scaling() -> None:
    story = Story(2, Policy(memory_share=900, limit_memory=300))
    story.tell(inputs.ScaleAsked(8))
    assert story.supervisor.cluster.policy.limit_memory == 100


def test_a_stop_that_leaves_somebody_says_so() -> None:
    story = Story(1, Policy(stop_timeout=2.0))
    story.tell(inputs.StopAsked())
    story.until(story.now + 20.0)
    (stopped,) = [event for event in story.events if isinstance(event, events.Stopped)]
    assert stopped.exit_code == 1
    assert stopped.left == (WorkerId(0, 1),)
    assert "0.1" in stopped.text
