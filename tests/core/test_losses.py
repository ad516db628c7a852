"""What a process takes with it when it ends is counted once, and in the right place."""

import pytest

from tercio.core import events, inputs
from tercio.core.commands import Publish, Spawn
from tercio.core.events import Event
from tercio.core.model import WorkerId
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor


class Story:
    """One supervisor with one serving worker, and what it published."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.supervisor = Supervisor(Policy(), 1, self.now, lambda: 0.5)
        self.worker = self._spawned(inputs.Tick())
        self.tell(inputs.Loaded(self.worker))
        self.tell(inputs.Ready(self.worker))

    def tell(self, item: inputs.Input, later: float = 0.0) -> None:
        self.now += later
        for command in self.supervisor.handle(item, self.now):
            if isinstance(command, Publish):
                self.events.append(command.event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def _spawned(self, item: inputs.Input) -> WorkerId:
        commands = self.supervisor.handle(item, self.now)
        return next(c.worker for c in commands if isinstance(c, Spawn))


@pytest.mark.parametrize(
    ("lost", "said"),
    [(0, "SIGSEGV"), (1, "SIGSEGV; 1 request was lost"), (3, "SIGSEGV; 3 requests were lost")],
)
def test_a_death_says_how_many_requests_it_cost(lost: int, said: str) -> None:
    story = Story()
    story.tell(inputs.Exited(story.worker, "killed by SIGSEGV", in_flight=lost))
    (died,) = story.of(events.WorkerDied)
    assert isinstance(died, events.WorkerDied)
    assert died.lost_requests == lost
    assert died.text.endswith(said)
    assert not story.of(events.RequestsCut)


def test_what_a_killed_leaver_had_counts_as_cut() -> None:
    story = Story()
    story.tell(inputs.StopAsked())
    story.tell(inputs.Tick(), later=Policy().stop_timeout + Policy().kill_grace)
    assert story.of(events.WorkerKilled)
    gone = inputs.Exited(story.worker, "killed by SIGKILL", in_flight=2, websockets=1)
    story.tell(gone)
    assert story.of(events.RequestsCut) == [events.RequestsCut(story.worker, 2, 1)]
    assert story.of(events.Stopped) == [events.Stopped(0, 2, 1)]
    assert not story.of(events.WorkerDied)


def test_a_reported_cut_is_counted_once() -> None:
    story = Story()
    story.tell(inputs.StopAsked())
    story.tell(inputs.Cut(story.worker, 2, 1, ("/slow",)))
    story.tell(inputs.Exited(story.worker, "exited with 0"))
    assert story.of(events.Stopped) == [events.Stopped(0, 2, 1)]


def test_the_report_of_a_stop_leaves_out_what_earlier_drains_cut() -> None:
    story = Story()
    story.tell(inputs.Cut(WorkerId(5, 1), 3, 4))  # some reload, long ago
    story.tell(inputs.StopAsked())
    story.tell(inputs.Cut(story.worker, 1, 0))
    story.tell(inputs.Exited(story.worker, "exited with 0"))
    assert story.of(events.Stopped) == [events.Stopped(0, 1, 0)]
