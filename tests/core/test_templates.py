"""A template that died comes back, unless the files are those of a rejected release."""

from dataclasses import replace

import pytest

from tercio.core import inputs
from tercio.core.commands import Command, Spawn, StartTemplate
from tests.core.test_rollout import POLICY, Play, spawned


def preloaded(release_dir: str = "") -> Play:
    """Two serving workers, forks of a template."""
    play = Play(replace(POLICY, preload=True, release_dir=release_dir))
    for who in spawned(play.tell(inputs.TemplateLoaded(1))):
        play.make_ready(who)
    return play


def reject(play: Play) -> None:
    """A reload whose import fails."""
    policy = play.supervisor.cluster.policy
    assert StartTemplate(2, 1) in play.reload(policy)
    play.tell(inputs.TemplateFailed(2, "import", "no good"))
    play.tell(inputs.TemplateEnded(2, "exited with 70"))
    assert play.supervisor.cluster.is_rejected


def forked(commands: list[Command]) -> list[bool]:
    """Whether each worker that is started is a fork."""
    return [command.is_forked for command in commands if isinstance(command, Spawn)]


@pytest.mark.parametrize(("release_dir", "comes_back"), [("", False), ("current", True)])
def test_a_template_is_not_made_of_rejected_files(release_dir: str, comes_back: bool) -> None:
    play = preloaded(release_dir)
    reject(play)
    play.tell(inputs.TemplateEnded(1, "killed by SIGKILL"))
    assert (StartTemplate(1, 0) in play.tell(inputs.Tick(), after=60)) is comes_back


def test_a_worker_is_forked_after_a_rejected_reload_and_not_without_its_template() -> None:
    play = preloaded()
    reject(play)
    first, second = (slot.workers[0].id for slot in play.supervisor.cluster.wanted())
    play.now += POLICY.stable_after
    assert forked(play.tell(inputs.Exited(first, "killed by SIGKILL"))) == [True]
    play.tell(inputs.TemplateEnded(1, "killed by SIGKILL"))
    assert forked(play.tell(inputs.Exited(second, "killed by SIGKILL"))) == [False]
