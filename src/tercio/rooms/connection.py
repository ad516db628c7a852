"""A client of rooms, for as long as its handler runs."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tercio.rooms.member import EXTENSION, AsgiMember, FramedMember, Member, Send
from tercio.rooms.posted import content_of

if TYPE_CHECKING:
    from tercio.rooms.rooms import Joined, Rooms


class Connection:
    """``async with`` it; at the end the client is in no room any more."""

    def __init__(
        self, rooms: "Rooms", scope: Any, send: Send, id: str, name: str | None, backlog: int
    ) -> None:
        self.id: str = id
        """Of this WebSocket, among those of all workers."""
        self._rooms = rooms
        frames = scope.get("extensions", {}).get(EXTENSION, {}).get("writer")
        self._asgi = AsgiMember(id, backlog, send) if frames is None else None
        self._member: Member = self._asgi or FramedMember(id, backlog, frames)
        self._member.name = name

    async def join(self, room: str, *, after: int | None = None) -> "Joined":
        """Get what is sent to a room from now on.

        In a room that keeps messages ``after`` is the number of the last one that this client has:
        first it gets those that came since. Raises `ValueError` for what cannot name a room.
        """
        return await self._rooms.enter(self._member, room, after)

    async def leave(self, room: str) -> None:
        """Get nothing more of it."""
        self._rooms.leave(self._member, room)

    def send(self, message: object) -> None:
        """Send to this client, in order with what comes from rooms. Raises `Unencodable`."""
        self._rooms.flush()
        self._member.deliver(content_of(message))

    async def __aenter__(self) -> Self:
        self._rooms.add(self._member)
        if self._asgi is not None:
            self._asgi.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._rooms.flush()
        self._rooms.remove(self._member)
        if self._asgi is not None:
            await self._asgi.end()
