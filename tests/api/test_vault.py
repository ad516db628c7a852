import asyncio
from typing import TypeVar

import pytest

from tercio import cluster
from tercio.cluster.vault import KEPT, Vault
from tercio.engines.local.state import LocalState
from tercio.errors import StateUnavailable
from tercio.state.verbs import Verb
from tercio.testing import Clock

R = TypeVar("R")


class Server(LocalState):
    """An engine that can go away, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.asked = 0

    def run_now(self, verb: Verb[R]) -> R:
        self.asked += 1
        if self.is_away:
            raise StateUnavailable("away")
        return super().run_now(verb)


def test_a_handler_asks_for_a_secret_in_a_running_loop() -> None:
    async def handler() -> str:
        return cluster.secret("session")

    with cluster.fresh():
        assert asyncio.run(handler()) == cluster.secret("session")


def test_a_server_is_asked_once_a_second() -> None:
    server, clock = Server(), Clock()
    vault = Vault(server, is_remote=True, clock=clock)
    assert vault.compare_and_set("a", None, ["x"])
    asked = server.asked
    assert [vault.get("a") for _ in range(10)] == [["x"]] * 10
    assert server.asked == asked
    clock.advance(KEPT + 0.1)
    assert vault.get("a") == ["x"]
    assert server.asked == asked + 1


def test_what_is_known_is_used_while_the_server_is_away() -> None:
    server, clock = Server(), Clock()
    vault = Vault(server, is_remote=True, clock=clock)
    vault.compare_and_set("a", None, ["x"])
    server.is_away = True
    clock.advance(KEPT + 0.1)
    assert vault.get("a") == ["x"]
    with pytest.raises(StateUnavailable):
        vault.get("b")


def test_another_process_s_change_is_seen_at_once_without_a_server() -> None:
    engine = LocalState()
    one, other = (Vault(engine, is_remote=False) for _ in range(2))
    assert one.compare_and_set("a", None, ["x"])
    assert not other.compare_and_set("a", None, ["y"])
    assert other.compare_and_set("a", ["x"], ["z", "x"])
    assert one.get("a") == ["z", "x"]
