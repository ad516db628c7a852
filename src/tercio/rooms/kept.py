"""The last messages of a room, in the shared state: each has a number, and none is lost.

A number is one step of a counter, a message one value in one of ``last`` places that are used in
turn. The counter begins with the time, so that numbers go on when all state was lost.
"""

import time
from dataclasses import dataclass
from typing import Final

from tercio.rooms.posted import numbered
from tercio.state.state import State

_EARLIEST: Final = 10**15  # microseconds since 1970; whatever is below was not begun by us

_RENEWALS: Final = 64  # messages from one renewal of the counter's time to the next
_A_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much of a room is kept."""

    last: int
    ttl: float


class Kept:
    """Messages of one room."""

    def __init__(self, state: State, room: str, keeping: Keeping) -> None:
        self.keeping = keeping
        self._state = state
        self._room = room
        self._counter = counter_of(room)
        self._lifetime = max(2 * keeping.ttl, _A_DAY)  # of the counter: it outlives the messages

    async def add(self, message: object) -> tuple[int, str]:
        """Keep a message; its number, and what clients get."""
        number = await self._state.incr(self._counter)
        if number < _EARLIEST:
            await self.begin()
            number = await self._state.incr(self._counter)
        if number % _RENEWALS == 0:
            await self._state.expire(self._counter, self._lifetime)
        content = numbered(self._room, number, message)
        await self._state.set(self._place(number), (number, content), ttl=self.keeping.ttl)
        return number, content

    def add_now(self, message: object) -> tuple[int, str]:
        """As `add`, from a thread without an event loop."""
        state = self._state.sync
        number = state.incr(self._counter)
        if number < _EARLIEST:
            state.update(self._counter, _begun, 0, ttl=self._lifetime, type=int)
            number = state.incr(self._counter)
        if number % _RENEWALS == 0:
            state.expire(self._counter, self._lifetime)
        content = numbered(self._room, number, message)
        state.set(self._place(number), (number, content), ttl=self.keeping.ttl)
        return number, content

    async def begin(self) -> int:
        """The number of the last message. Where there was none, numbers begin to count."""
        return await self._state.update(self._counter, _begun, 0, ttl=self._lifetime, type=int)

    async def between(self, first: int, last: int) -> dict[int, str]:
        """The messages from ``first`` to ``last`` that are still there, by number."""
        first = max(first, last - self.keeping.last + 1)
        if first > last:
            return {}
        places = [self._place(number) for number in range(first, last + 1)]
        found: dict[int, str] = {}
        for value in await self._state.mget(*places, type=tuple[int, str]):
            if value is not None and first <= value[0] <= last:
                found[value[0]] = value[1]
        return found

    def _place(self, number: int) -> str:
        return f"m:{number % self.keeping.last}:{self._room}"


def _begun(number: int) -> int:
    return number if number >= _EARLIEST else time.time_ns() // 1000


def counter_of(room: str) -> str:
    """The name of the value that counts a room's messages."""
    return f"n:{room}"
