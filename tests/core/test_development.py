"""What `tercio dev` changes: a person waits for each change, and nothing else does."""

from tercio.core import events, inputs
from tercio.core.commands import Command, Drain, Kill, Publish, Spawn
from tercio.core.health import Beats
from tercio.core.model import Phase, WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor

POLICY = Policy(soak=0.0, trial=0.0, drain_timeout=3.0, is_development=True)
FIRST = WorkerId(0, 1)


class Story:
    """A supervisor of one worker, and all that it has ordered."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.orders: list[Command] = []
        self.supervisor = Supervisor(POLICY, 1, self.now, lambda: 0.5)
        self.tell(inputs.Tick())

    def tell(self, item: inputs.Input) -> None:
        self.orders += self.supervisor.handle(item, self.now)

    def later(self, seconds: float) -> None:
        """Let time pass, and look as often as the supervisor wants to."""
        end = self.now + seconds
        while (due := self.supervisor.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now + 0.001)
            self.tell(inputs.Tick())
        self.now = end
        self.tell(inputs.Tick())

    def becomes_ready(self, worker: WorkerId) -> None:
        self.tell(inputs.Loaded(worker))
        self.tell(inputs.Ready(worker))

    def asks(self, worker: WorkerId, is_at_prompt: bool) -> None:
        """What a round of samples says of a worker's debugger."""
        beats = Beats(loop_age=0.1, thread_age=0.1, is_at_prompt=is_at_prompt)
        self.tell(inputs.Sampled((inputs.Sample(worker, beats, 0, None),), None))

    def reload(self, number: int) -> None:
        self.tell(inputs.ReloadAsked(number, number, POLICY, None, 0))

    def spawned(self) -> list[WorkerId]:
        return [order.worker for order in self.orders if isinstance(order, Spawn)]

    def said(self, kind: type[events.Event]) -> int:
        told = (order.event for order in self.orders if isinstance(order, Publish))
        return sum(isinstance(event, kind) for event in told)

    def phase(self, worker: WorkerId) -> Phase | None:
        found = self.supervisor.cluster.find(worker)
        return found.phase if found else None


def test_what_never_started_is_not_tried_again_until_a_reload() -> None:
    story = Story()
    story.tell(inputs.BootFailed(FIRST, "import", "SyntaxError", ""))
    story.tell(inputs.Exited(FIRST, "exited with 70"))
    story.later(3600.0)
    assert story.spawned() == [FIRST]
    assert story.said(events.ChangeAwaited) == 1
    assert not story.supervisor.cluster.has_exited
    story.reload(1)
    second = WorkerId(0, 2)
    assert story.spawned() == [FIRST, second]
    story.becomes_ready(second)
    assert story.phase(second) is Phase.SERVING
    assert story.said(events.ClusterReady) == 1


def test_a_worker_that_crashes_comes_back_but_not_with_a_broken_file() -> None:
    story = Story()
    story.becomes_ready(FIRST)
    story.later(60.0)
    story.tell(inputs.Exited(FIRST, "killed by SIGSEGV"))
    second = WorkerId(0, 2)
    assert story.spawned() == [FIRST, second]
    story.tell(inputs.BootFailed(second, "import", "SyntaxError", ""))
    story.tell(inputs.Exited(second, "exited with 70"))
    story.later(3600.0)
    assert story.spawned() == [FIRST, second]


def test_a_reload_waits_while_a_debugger_asks() -> None:
    story = Story()
    story.becomes_ready(FIRST)
    story.asks(FIRST, True)
    story.reload(1)
    story.reload(2)
    story.later(3600.0)
    assert story.spawned() == [FIRST]
    assert story.said(events.ReloadWaits) == 2
    story.asks(FIRST, False)
    assert story.spawned() == [FIRST, WorkerId(0, 2)]


def test_no_limit_ends_a_worker_whose_debugger_asks_and_a_stop_does() -> None:
    story = Story()
    story.becomes_ready(FIRST)
    story.reload(1)
    story.becomes_ready(WorkerId(0, 2))
    story.later(0.1)
    assert story.phase(FIRST) is Phase.DRAINING
    story.asks(FIRST, True)
    story.later(3600.0)
    assert story.phase(FIRST) is Phase.DRAINING
    story.tell(inputs.StopAsked(143))
    story.later(POLICY.stop_timeout + POLICY.kill_grace + 1.0)
    assert any(isinstance(order, Kill) and order.worker == FIRST for order in story.orders)


def test_an_import_that_asks_is_waited_for() -> None:
    story = Story()
    story.asks(FIRST, True)
    story.later(3600.0)
    assert story.phase(FIRST) is Phase.BOOTING
    story.asks(FIRST, False)
    story.later(POLICY.sample_interval + 1.0)
    assert story.phase(FIRST) is Phase.DYING


def test_a_change_ends_the_import_of_what_is_old_already() -> None:
    story = Story()
    story.becomes_ready(FIRST)
    story.reload(1)
    second = WorkerId(0, 2)
    assert story.phase(second) is Phase.BOOTING
    story.reload(2)
    assert any(isinstance(order, Drain) and order.worker == second for order in story.orders)
    story.tell(inputs.Exited(second, "exited with 0"))
    assert story.spawned()[-1] == WorkerId(0, 3)
    assert story.phase(FIRST) is Phase.SERVING
