"""A loop from which connections cannot be taken safely is found out before anybody's is."""

import asyncio
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from tercio.handover.detaching import CannotDetach, Detacher, Resting
from tercio.handover.moments import Moment, Moments
from tercio.handover.trial import prove
from tercio.system.held import Step

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")

Factory = Callable[[], asyncio.AbstractEventLoop]


def selecting() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class Forgetful(Moments):
    """Says of any moment that it lasts."""

    def now(self) -> Moment | None:
        found = super().now()
        return None if found is None else Moment(found.step, lambda: ())


class Blind(Moments):
    """Cannot see in another thread what runs."""

    def now(self) -> Moment | None:
        return None


class Careless(Detacher):
    """Leaves the connection where the loop reads it."""

    def steps(
        self, connection: Resting, fd: int, asked: int, moment: Moment, copy: int
    ) -> list[Step]:
        made = super().steps(connection, fd, asked, moment, copy)
        return [*made[:3], (), made[4], ()]


def trial(
    factory: Factory,
    detacher: type[Detacher] = Detacher,
    moments: type[Moments] = Moments,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made = detacher(loop)
        try:
            await prove(loop, made, moments(loop))
        finally:
            made.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> Iterator[Factory]:
    before = _sockets()
    yield request.param
    assert _sockets() == before


def _sockets() -> int:
    with socket.socket() as probe:  # its number is the lowest that is free
        return probe.fileno()


def test_the_loops_we_know_stand_the_trial(factory: Factory) -> None:
    trial(factory)


def test_a_task_factory_of_the_application_does_not_disturb_it(factory: Factory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def fail(*arguments: Any, **named: Any) -> Any:
            raise TypeError("not for you")

        loop.set_task_factory(fail)
        detacher = Detacher(loop)
        try:
            await prove(loop, detacher, Moments(loop))
        finally:
            loop.set_task_factory(None)
            detacher.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_a_loop_without_epoll_is_refused() -> None:
    with pytest.raises(CannotDetach, match="has no epoll"):
        trial(selecting)


@pytest.mark.parametrize(
    ("detacher", "moments", "reason"),
    [
        (Detacher, Forgetful, "another step"),
        (Detacher, Blind, "cannot be seen"),
        (Careless, Moments, "goes on to read"),
    ],
)
def test_what_is_not_as_it_should_be_is_found(
    factory: Factory, detacher: type[Detacher], moments: type[Moments], reason: str
) -> None:
    with pytest.raises(CannotDetach, match=reason):
        trial(factory, detacher, moments)
