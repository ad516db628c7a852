"""The rescue without one of its protections: with each of these a storm must do harm."""

import operator
import time
from collections.abc import Callable, Iterator
from typing import Any

from tercio.handover.detaching import Asked, Detacher, Resting, Unbegun
from tercio.handover.moments import Moment, Moments
from tercio.handover.rescue import Rescue
from tercio.handover.saving import Saver
from tercio.http.connection import Connection
from tercio.http.request import Request
from tercio.http.transports import descriptor_of
from tercio.system.held import Step

_MOMENT, _STATE, _RELEASED, _TAKEN_OUT, _COPIED, _REPLACED = range(6)

_original = Detacher.steps


def _without(index: int) -> Callable[..., list[Step]]:
    def steps(self: Detacher, *arguments: Any) -> list[Step]:
        made = _original(self, *arguments)
        made[index] = ()
        return made

    return steps


def _let_go(
    self: Detacher, connection: Resting, fd: int, asked: int, moment: Moment, copy: int
) -> list[Step]:
    """Not atomic: between the look and the deed the lock is given away."""
    made = _original(self, connection, fd, asked, moment, copy)
    made.insert(_RELEASED, map(time.sleep, (0.0,)))
    return made


def _whatever_it_does(
    self: Detacher, connection: Resting, fd: int, asked: int, moment: Moment, copy: int
) -> list[Step]:
    made = _original(self, connection, fd, asked, moment, copy)
    get = operator.attrgetter("is_lost", "is_released")
    made[_STATE] = map(operator.ne, map(get, (connection,)), ((False, False),))
    return made


def _all(self: Saver) -> Iterator[tuple[int, tuple[Connection, int]]]:
    for peer in list(self._mover.server.service.connections):
        if isinstance(peer, Connection):
            yield descriptor_of(peer.transport), (peer, peer.asked)


def _whatever_has_begun() -> None:
    def unbegun(self: Connection) -> Request | None:
        return self.current if self.came else None

    def steps(self: Detacher, connection: Asked, request: Unbegun, asked: int) -> list[Step]:
        return []

    Connection.unbegun = property(unbegun)  # type: ignore[assignment]
    Detacher.unbegun = steps  # type: ignore[method-assign]


def _any_moment(self: Moments) -> Moment:
    return Moment(self, lambda: ())  # type: ignore[arg-type]


def be_rash() -> None:
    """No mutant: it takes connections from loops that are not blocked, again and again.

    So every protection is tried at any point of a loop's work, not just where it stands for long.
    """
    Rescue._is_blocked = lambda *_: True  # type: ignore[method-assign]


def apply(name: str) -> None:
    """Break this process."""
    match name:
        case "":
            pass
        case "no task check":
            Detacher.steps = _without(_MOMENT)  # type: ignore[method-assign]
            Moments.now = _any_moment  # type: ignore[method-assign]
        case "no look at its state":
            Detacher.steps = _whatever_it_does  # type: ignore[method-assign]
            Saver._candidates = _all  # type: ignore[method-assign]
        case "no look at what began":
            _whatever_has_begun()
        case "not taken out of epoll":
            Detacher.steps = _without(_TAKEN_OUT)  # type: ignore[method-assign]
        case "no dummy":
            Detacher.steps = _without(_REPLACED)  # type: ignore[method-assign]
        case "not atomic":
            Detacher.steps = _let_go  # type: ignore[method-assign]
        case _:
            raise ValueError(name)


NAMES = (
    "no task check",
    "no look at its state",
    "no look at what began",
    "not taken out of epoll",
    "no dummy",
    "not atomic",
)
