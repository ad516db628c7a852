"""WebSockets of all workers, by room: what one worker sends, clients at every worker get."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Coroutine, Iterable
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple, Protocol

from tercio.bus.bus import Bus
from tercio.bus.listener import Handle
from tercio.codec import UNREADABLE
from tercio.errors import StateError
from tercio.metrics.metrics import Metrics
from tercio.rooms.connection import Connection
from tercio.rooms.counting import Counting
from tercio.rooms.kept import Keeping, Kept, counter_of
from tercio.rooms.member import Member
from tercio.rooms.place import Place
from tercio.rooms.posted import ALL, CLOSE, ONE, ROOM, Posted, content_of, decoded, encoded
from tercio.rooms.presence import Presence
from tercio.rooms.sync import SyncRooms
from tercio.state.state import State

_log = logging.getLogger("tercio.rooms")

_TOPIC: Final = ".rooms"
_NAMESPACE: Final = ".rooms"
LOOK_EVERY: Final = 1.0
"""Seconds after which the last message of a room is there that was lost on the way."""

_TOGETHER: Final = 100  # rooms that are looked at in one step
_LONGEST: Final = 200  # bytes of a room's name
BACKLOG: Final = 1 << 20
"""Bytes that may wait for one client."""


class Socket(Protocol):
    """A WebSocket of Starlette or FastAPI."""

    scope: Any

    async def send(self, message: Any) -> None: ...


class Joined(NamedTuple):
    """Where a client is in a room that keeps messages; zeros in others."""

    position: int
    """The number of the last message before those that come now."""
    missed: int
    """Messages after the one it had that are not kept any more; more than that where all state was
    lost in between."""


class Rooms:
    """``cluster.rooms``. For tasks of the event loop."""

    def __init__(self, bus: Bus, state: State, metrics: Metrics) -> None:
        self.process: Final = secrets.token_hex(8)
        self.places: dict[str, Place] = {}
        self.members: dict[str, Member] = {}
        self.counting = Counting(metrics)
        self._bus = bus
        self._state = state.namespace(_NAMESPACE)
        self._keeping: list[tuple[str, Keeping]] = []
        self._kept: dict[str, Kept | None] = {}
        self._presence: Presence | None = None
        self._is_watching = False
        self._numbers = itertools.count(1)
        self._listening: Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: dict[str, Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # For applications

    def connect(
        self, websocket: Socket, *, name: str | None = None, backlog: int = BACKLOG
    ) -> Connection:
        """``async with cluster.rooms.connect(websocket) as client:``, once it was accepted.

        ``name`` is what `names` shows. A client for which more than ``backlog`` bytes have waited
        for a second, or four times as many at any moment, is closed with 1013.
        """
        id = f"{self.process}-{next(self._numbers)}"
        return Connection(self, websocket.scope, websocket.send, id, name, backlog)

    def keep(self, pattern: str, last: int = 100, ttl: float = 3600.0) -> None:
        """Keep the ``last`` messages of rooms whose name matches (``"chat-*"``), for ``ttl``
        seconds, so that who comes back gets what it missed. The same in all workers, at import.

        Clients of such a room get JSON: ``{"room": …, "seq": …, "data": …}``. Raises `ValueError`.
        """
        if last < 1 or not 0 < ttl < float("inf"):
            raise ValueError(f"rooms.keep: last={last}, ttl={ttl}: expected numbers above 0")
        self._keeping.append((pattern, Keeping(last, ttl)))
        self._kept.clear()

    async def send(self, room: str, message: object, *, exclude: Iterable[str] = ()) -> int:
        """Send to everybody in a room but the clients whose ids are in ``exclude``.

        Text and bytes are sent as they are, anything else as JSON, once for all clients. It waits
        only where the room keeps messages; the answer is the message's number then, otherwise 0.
        Raises `Unencodable`, `ValueError` for what cannot name a room, and `StateError` where
        messages are kept.
        """
        kept = self.kept(room)
        if kept is None:
            number, content = 0, content_of(message)
        else:
            number, content = await kept.add(message)
        self.post(Posted(ROOM, room, content, number, tuple(exclude)))
        return number

    def send_all(self, message: object, *, exclude: Iterable[str] = ()) -> None:
        """Send to every client of the cluster. Raises `Unencodable`."""
        self.post(Posted(ALL, "", content_of(message), exclude=tuple(exclude)))

    def send_to(self, client: str, message: object) -> None:
        """Send to one client, by `Connection.id`, wherever it is. Raises `Unencodable`."""
        self.post(Posted(ONE, client, content_of(message)))

    def close_client(self, client: str, code: int = 1000, reason: str = "") -> None:
        """End one client's WebSocket, wherever it is."""
        self.post(Posted(CLOSE, client, reason, code))

    async def count(self, room: str) -> int:
        """How many clients are in a room, at all workers."""
        return (await self._present().ask(room))[0]

    async def names(self, room: str) -> list[str]:
        """What the clients in a room are called, as far as they said; sorted."""
        return (await self._present().ask(room))[1]

    @property
    def sync(self) -> SyncRooms:
        """To send from threads."""
        return SyncRooms(self)

    # For connections

    async def enter(self, member: Member, room: str, after: int | None) -> Joined:
        """Put a client into a room. See `Connection.join`."""
        place = self._place(room)
        place.coming += 1
        try:
            joined = await self._admit(member, place, after)
        finally:
            place.coming -= 1
            self._forget(place)
        if not member.is_over:
            member.rooms.add(room)
            self._present().changed(room)
        return joined

    def leave(self, member: Member, room: str) -> None:
        """Take a client out of a room."""
        member.rooms.discard(room)
        place = self.places.get(room)
        if place is not None:
            self.flush()  # what came before it left is for it
            if place.remove(member.id):
                self._forget(place)
                self._present().changed(room)

    def add(self, member: Member) -> None:
        """A client is here."""
        self.hear()
        self.members[member.id] = member

    def remove(self, member: Member) -> None:
        """A client is gone."""
        for room in list(member.rooms):
            self.leave(member, room)
        self.members.pop(member.id, None)
        if member.was_slow:
            self.counting.too_slow()

    def kept(self, room: str) -> Kept | None:
        """What keeps the messages of a room. Raises `ValueError` for what cannot name one."""
        if room not in self._kept:
            if not 0 < len(room.encode()) <= _LONGEST:
                raise ValueError(f"room {room[:40]!r}: expected a name of 1 to {_LONGEST} bytes")
            if len(self._kept) > 10_000:  # names that were made up; they are found again
                self._kept.clear()
            found = [each for pattern, each in self._keeping if fnmatchcase(room, pattern)]
            self._kept[room] = Kept(self._state, room, found[-1]) if found else None
        return self._kept[room]

    def post(self, posted: Posted) -> None:
        """Send what is for clients to all processes. From any thread."""
        self._bus.publish_internal(_TOPIC, encoded(posted))

    def hear(self) -> None:
        """Hear of messages in the running loop, from the first client on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self.close()
            self._loop = loop
            self._listening = self._bus.on_internal(_TOPIC, self._take)

    def flush(self) -> None:
        """Send what has come."""
        due, self._due = self._due, {}
        for place in due.values():
            place.flush()
            if place.lost:
                self.counting.lost(place.lost)
                place.lost = 0

    # The end

    async def leave_all(self) -> None:
        """This process ends: nobody is here any more."""
        presence = self._presence
        self.close()
        if presence is not None:
            try:
                await presence.leave()
            except StateError as error:
                _log.info("others will take a while to see that this process is gone: %s", error)

    def close(self) -> None:
        """Stop hearing, and end the tasks."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        for task in self._tasks:
            if not task.get_loop().is_closed():
                task.cancel()
        self._tasks.clear()
        self._presence = None
        self._is_watching = False
        self._loop = None
        self.places.clear()
        self.members.clear()

    # Parts

    def _take(self, body: bytes) -> None:
        try:
            posted = decoded(body)
        except UNREADABLE as error:  # of another release, or of somebody else
            _log.warning("a message for rooms cannot be read: %s", error)
            return
        if posted.kind == ROOM:
            place = self.places.get(posted.target)
            if place is not None and place.take(posted):
                self._progressed(place)
            return
        self.flush()
        if posted.kind == ALL:
            for member in list(self.members.values()):
                if member.id not in posted.exclude:
                    member.deliver(posted.content)
        elif (found := self.members.get(posted.target)) is not None:
            if posted.kind == ONE:
                found.deliver(posted.content)
            elif posted.kind == CLOSE and isinstance(posted.content, str):
                found.close(posted.number, posted.content)

    def _progressed(self, place: Place) -> None:
        if not self._due and self._loop is not None:
            self._loop.call_soon(self.flush)
        self._due[place.name] = place

    async def _admit(self, member: Member, place: Place, after: int | None) -> Joined:
        if place.kept is None:
            self.flush()  # what came before it joined is not for it
            place.members[member.id] = member
            return Joined(0, 0)
        if not place.next:
            async with place.beginning:
                if not place.next:
                    place.begin(await place.kept.begin())
        if after is not None and after >= place.next and after > await place.kept.begin():
            after = None  # no message had that number
        if not self._is_watching:
            self._is_watching = True
            self._spawn(self._watch())
        end = place.next - 1
        found = {} if after is None else await place.kept.between(after + 1, end)
        # No waiting from here on: what comes next is the next for this client.
        self.flush()
        position = place.next - 1
        if after is not None and after > position:
            place.ahead[member.id] = member, after
            return Joined(after, 0)
        place.members[member.id] = member
        if after is None:
            return Joined(position, 0)
        found |= {posted.number: str(posted.content) for posted in place.recent}
        missing = [number for number in sorted(found) if number > after]
        member.deliver_all([found[number] for number in missing])
        return Joined(position, max(0, position - after - len(missing)))

    async def _watch(self) -> None:
        """See now and then whether the last message of a room was lost on the way: nothing that
        comes after it would tell.
        """
        try:
            while kept := [each for each in self.places.values() if each.kept is not None]:
                await asyncio.sleep(LOOK_EVERY)
                for first in range(0, len(kept), _TOGETHER):
                    part = kept[first : first + _TOGETHER]
                    names = [counter_of(place.name) for place in part]
                    try:
                        newest = await self._state.mget(*names, type=int)
                    except StateError as error:
                        _log.debug("rooms: the state is away: %s", error)
                        break
                    for place, number in zip(part, newest, strict=True):
                        place.look(number or 0)
        finally:
            self._is_watching = False

    def _forget(self, place: Place) -> None:
        if place.is_empty and self.places.get(place.name) is place:
            del self.places[place.name]

    def _place(self, room: str) -> Place:
        self.hear()
        place = self.places.get(room)
        if place is None:
            place = Place(room, self.kept(room), self._spawn, self._progressed)
            self.places[room] = place
        return place

    def _present(self) -> Presence:
        if self._presence is None:
            self.hear()
            self._presence = Presence(self._state, self.process, self.places.get)
            self._spawn(self._presence.run())
        return self._presence

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="tercio-rooms")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("rooms: a task failed", exc_info=error)
