"""A reload goes by its own figures, and starts no process that it has no use for."""

from dataclasses import replace

from tercio.core import inputs
from tercio.core.commands import Command, Drain, Kill, Publish, Serve, Spawn
from tercio.core.model import WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor

POLICY = Policy(start_timeout=5, ready_timeout=2, kill_grace=1, soak=1, trial=1)


class Play:
    """A supervisor with two serving workers, and a clock."""

    def __init__(self, policy: Policy = POLICY, workers: int = 2) -> None:
        self.now = 100.0
        self.supervisor = Supervisor(policy, workers, self.now, lambda: 0.5)
        for command in self.tell(inputs.Tick()):
            if isinstance(command, Spawn):
                self.make_ready(command.worker)

    def tell(self, item: inputs.Input, after: float = 0.0) -> list[Command]:
        """Tell it something ``after`` seconds; what it wants, events left out."""
        self.now += after
        wanted = self.supervisor.handle(item, self.now)
        return [command for command in wanted if not isinstance(command, Publish)]

    def make_ready(self, who: WorkerId) -> list[Command]:
        return [*self.tell(inputs.Loaded(who)), *self.tell(inputs.Ready(who))]

    def reload(self, policy: Policy, headroom: int | None = None) -> list[Command]:
        return self.tell(inputs.ReloadAsked(1, 1, policy, headroom, 100))


def spawned(commands: list[Command]) -> list[WorkerId]:
    return [command.worker for command in commands if isinstance(command, Spawn)]


def test_a_successor_has_the_start_timeout_of_its_own_options() -> None:
    play = Play()
    (canary,) = spawned(play.reload(replace(POLICY, start_timeout=60)))
    assert play.tell(inputs.Tick(), after=59) == []
    assert play.tell(inputs.Tick(), after=2) == [
        Kill(canary, "was not loaded after 60 s (--start-timeout)")
    ]


def test_a_successor_has_the_ready_timeout_of_its_own_options() -> None:
    play = Play()
    (canary,) = spawned(play.reload(replace(POLICY, ready_timeout=30)))
    play.tell(inputs.Loaded(canary))
    assert play.tell(inputs.Tick(), after=30) == []
    assert play.tell(inputs.Tick(), after=2) == [
        Kill(canary, "was not ready after 30 s (--ready-timeout)")
    ]


def test_nothing_is_started_between_the_fault_of_a_canary_and_its_end() -> None:
    play = Play()
    (canary,) = spawned(play.reload(POLICY))
    assert play.tell(inputs.Tick(), after=POLICY.start_timeout) == [
        Kill(canary, "was not loaded after 5 s (--start-timeout)")
    ]
    assert play.tell(inputs.Tick(), after=0.5) == []
    assert play.tell(inputs.Exited(canary, "killed by SIGKILL")) == []
    assert play.supervisor.cluster.rollout is None


def test_nothing_is_started_for_a_release_that_said_it_failed() -> None:
    policy = replace(POLICY, surge=2)
    play = Play(workers=4)
    (canary,) = spawned(play.reload(policy))
    second, third = spawned(play.make_ready(canary))
    play.tell(inputs.BootFailed(second, "import", "no"))
    assert spawned(play.make_ready(third)) == []


def test_a_rolling_reload_soaks_as_long_as_its_own_options_say() -> None:
    play = Play()
    (canary,) = spawned(play.reload(replace(POLICY, soak=0.5), headroom=0))
    old = WorkerId(canary.slot, 1)
    play.make_ready(canary)
    # The next turn is when it has soaked, and in that turn something happens: no busy loop.
    deadline = play.supervisor.next_deadline()
    assert deadline == play.now + 0.5
    commands = play.tell(inputs.Tick(), after=0.5)
    assert Serve(canary) in commands
    assert [c.worker for c in commands if isinstance(c, Drain)] == [old]


def test_a_rolling_reload_has_one_process_more_than_workers() -> None:
    play = Play(workers=3)
    (canary,) = spawned(play.reload(replace(POLICY, surge=3), headroom=0))
    assert spawned(play.make_ready(canary)) == []  # it soaks
    assert spawned(play.tell(inputs.Tick(), after=POLICY.soak)) == []  # its predecessor drains
    (second,) = spawned(play.tell(inputs.Exited(WorkerId(canary.slot, 1), "exited with 0")))
    assert second.slot != canary.slot


def test_a_rolling_reload_has_time_for_every_drain() -> None:
    policy = replace(POLICY, drain_timeout=100)
    assert policy.reload_limit(3) < 3 * 100 < policy.reload_limit(3, is_exact=False)
