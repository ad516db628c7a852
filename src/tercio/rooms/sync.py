"""``cluster.sync.rooms``: send to clients from threads, as in a view of Django or Flask."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tercio.rooms.posted import ROOM, Posted, content_of

if TYPE_CHECKING:
    from tercio.rooms.rooms import Rooms


class SyncRooms:
    """What of `Rooms` makes sense without an event loop: to send."""

    def __init__(self, rooms: "Rooms") -> None:
        self._rooms = rooms
        self.send_all = rooms.send_all
        self.send_to = rooms.send_to
        self.close_client = rooms.close_client

    def send(self, room: str, message: object, *, exclude: Iterable[str] = ()) -> int:
        """As `Rooms.send`."""
        kept = self._rooms.kept(room)
        number, content = (0, content_of(message)) if kept is None else kept.add_now(message)
        self._rooms.post(Posted(ROOM, room, content, number, tuple(exclude)))
        return number
