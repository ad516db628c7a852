"""Who goes on with the connections of a worker that is told to leave."""

from dataclasses import replace

from tercio.core import inputs
from tercio.core.commands import Command, Drain
from tercio.core.model import WorkerId
from tests.core.test_rollout import POLICY, Play, spawned


def heirs(commands: list[Command]) -> dict[WorkerId, tuple[int, ...] | None]:
    return {command.worker: command.heirs for command in commands if isinstance(command, Drain)}


def on_trial(play: Play) -> None:
    (canary,) = spawned(play.reload(POLICY))
    (second,) = spawned(play.make_ready(canary))
    play.make_ready(second)
    play.tell(inputs.Tick(), after=POLICY.soak)


def test_the_successor_of_a_reload_inherits() -> None:
    play = Play()
    on_trial(play)
    assert heirs(play.tell(inputs.Tick(), after=POLICY.trial)) == {
        WorkerId(0, 1): (1,),
        WorkerId(1, 1): (3,),
    }


def test_the_predecessor_of_a_rollback_inherits() -> None:
    play = Play()
    on_trial(play)
    rollback = play.tell(inputs.Exited(WorkerId(0, 2), "killed by SIGSEGV"))
    assert heirs(rollback) == {WorkerId(1, 2): (2,)}


def test_a_slot_that_is_given_up_has_no_heir_of_its_own() -> None:
    play = Play()
    assert heirs(play.tell(inputs.ScaleAsked(1))) == {WorkerId(1, 1): ()}


def test_at_a_stop_nobody_inherits() -> None:
    play = Play(replace(POLICY, stop_delay=0))
    assert heirs(play.tell(inputs.StopAsked())) == {WorkerId(0, 1): None, WorkerId(1, 1): None}
