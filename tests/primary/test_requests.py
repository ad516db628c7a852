"""Requests that wait: every wait ends, also when nothing happens any more."""

import asyncio
from collections.abc import Mapping

import pytest

from tercio.core import inputs
from tercio.core.cluster import Cluster
from tercio.core.commands import Publish, Spawn
from tercio.core.policy import Policy
from tercio.core.supervisor import Supervisor
from tercio.errors import ControlError
from tercio.primary.health import health_of
from tercio.primary.journal import Journal
from tercio.primary.letters import Letters
from tercio.primary.requests import Conversation

POLICY = Policy(
    start_timeout=0.01, ready_timeout=0.01, backoff_cap=0.01, soak=0.01, drain_timeout=0.01,
    kill_grace=0.01,
)  # fmt: skip


class StillLife:
    """A primary whose processes never do anything, or with ``refusal`` cannot be started."""

    letters: Letters  # nobody sends any

    def __init__(self) -> None:
        self.journal = Journal()
        self.refusal = ""
        self._supervisor = Supervisor(POLICY, 2, 0.0, lambda: 0.5)
        self.tell(inputs.Tick())
        for worker in self.cluster.workers():
            self.tell(inputs.Loaded(worker.id))
            self.tell(inputs.Ready(worker.id))

    @property
    def cluster(self) -> Cluster:
        return self._supervisor.cluster

    def tell(self, item: inputs.Input) -> None:
        for command in self._supervisor.handle(item, 0.0):
            match command:
                case Publish(event):
                    self.journal.publish(event)
                case Spawn(worker) if self.refusal:
                    self.tell(inputs.SpawnRefused(worker, self.refusal))
                case _:
                    pass

    tails = None

    async def status(self, memory_age: float) -> dict[str, object]:
        return {}

    def describe_config(self) -> dict[str, object]:
        return {}

    def ask_reload(self) -> int:
        return 1

    def reopen_logs(self) -> None:
        pass

    async def dump(self, slot: int) -> str:
        return ""

    def health(self) -> dict[str, object]:
        return health_of(self.cluster, 2)

    def metrics(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize(
    "request_",
    [{"do": "scale", "to": "3"}, {"do": "scale", "to": 1}, {"do": "recycle", "slots": [0]}],
)
def test_a_change_that_does_not_happen_is_given_up_at_the_sum_of_its_limits(
    request_: Mapping[str, object],
) -> None:
    with pytest.raises(ControlError, match=r"not done after 0\.\d+ s"):
        asyncio.run(Conversation(StillLife(), emit).answer(request_))


def test_a_process_that_the_kernel_refuses_ends_the_wait_for_it() -> None:
    primary = StillLife()
    primary.refusal = "no memory"
    says = r"worker 2\.1 could not be started: no memory; it is tried again"
    with pytest.raises(ControlError, match=says):
        asyncio.run(Conversation(primary, emit).answer({"do": "scale", "to": 3}))


async def emit(message: Mapping[str, object]) -> None:
    """Nobody reads what is sent."""


def test_probes_are_told_of_a_stop_at_once() -> None:
    life = StillLife()
    assert (life.health()["ready"], life.health()["why"]) == (True, "")
    life.tell(inputs.StopAsked(0))
    assert life.health()["why"] == "the cluster is stopping"
    assert life.health()["started"] is True


def test_after_a_scale_down_fewer_workers_are_enough() -> None:
    life = StillLife()
    assert health_of(life.cluster, 3)["ready"] is True  # never more than are wanted
