"""How many clients of all processes are in a room, and what they are called.

Each process says so for its own clients in the shared state, for a while: one that died is
forgotten within `TTL` seconds. What changes quickly is told together.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tercio.errors import TercioError
from tercio.rooms.place import Place
from tercio.state.group import Group
from tercio.state.state import State

_log = logging.getLogger("tercio.rooms")

TTL: Final = 15.0
_AGAIN: Final = 5.0  # seconds after which it is said again
_TOGETHER: Final = 0.05  # seconds in which changes are told together
NAMES: Final = 1000
"""Names of a room that one process tells at most."""

Here = tuple[int, list[str]]


class Presence:
    """Tells of the clients here, and asks for all."""

    def __init__(self, state: State, process: str, places: Callable[[str], Place | None]) -> None:
        self._state = state
        self._process = process
        self._place = places
        self._changed: set[str] = set()
        self._told: set[str] = set()
        self._wake = asyncio.Event()

    def changed(self, room: str) -> None:
        """Somebody came or went."""
        self._changed.add(room)
        self._wake.set()

    async def run(self) -> None:
        """Tell, until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(_AGAIN):
                    await self._wake.wait()
                await asyncio.sleep(_TOGETHER)
                rooms, self._changed = self._changed, set()
            except TimeoutError:
                rooms = set(self._told)
            self._wake.clear()
            try:
                for room in rooms:
                    await self._tell(room)
            except TercioError as error:  # the state is away: it is told again in a while
                _log.warning("who is in which room could not be told: %s", error)

    async def leave(self) -> None:
        """Nobody is here any more."""
        for room in list(self._told):
            await self._withdraw(room)

    async def ask(self, room: str) -> Here:
        """How many there are, and the names of those who have one."""
        count, names = self._here(room)
        others = [each for each in await self._group(room).members() if each != self._process]
        if others:
            keys = [self._key(room, each) for each in others]
            for found in await self._state.mget(*keys, type=tuple[int, list[str]]):
                if found is not None:
                    count += found[0]
                    names += found[1]
        return count, sorted(names)

    def _here(self, room: str) -> Here:
        place = self._place(room)
        if place is None:
            return 0, []
        named = [member.name for member in place.members.values() if member.name is not None]
        return len(place.members), named[:NAMES]

    async def _tell(self, room: str) -> None:
        here = self._here(room)
        if not here[0]:
            await self._withdraw(room)
            return
        self._told.add(room)
        await self._state.set(self._key(room, self._process), here, ttl=TTL)
        await self._group(room).add(self._process)

    async def _withdraw(self, room: str) -> None:
        self._told.discard(room)
        await self._group(room).discard(self._process)
        await self._state.delete(self._key(room, self._process))

    def _group(self, room: str) -> Group:
        return self._state.group(f"in:{room}", ttl=TTL)

    @staticmethod
    def _key(room: str, process: str) -> str:
        return f"in:{process}:{room}"
