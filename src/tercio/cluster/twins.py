"""``cluster.sync``: the same calls for threads, where nothing can be awaited."""

from typing import TYPE_CHECKING

from tercio.bus.bus import Bus
from tercio.offload.offload import SyncOffload
from tercio.state.sync import SyncState

if TYPE_CHECKING:
    from tercio.cluster.parts import Parts
    from tercio.rooms.sync import SyncRooms


class Twins:
    """Calls that wait instead of being awaited; in a running event loop they raise."""

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts

    @property
    def state(self) -> SyncState:
        """As `cluster.state`."""
        return self._parts.state.sync

    @property
    def bus(self) -> Bus:
        """``publish`` never waits, so it is the same."""
        return self._parts.bus

    @property
    def rooms(self) -> "SyncRooms":
        """To send as `cluster.rooms` does."""
        return self._parts.rooms.sync

    @property
    def offload(self) -> SyncOffload:
        """As `cluster.offload`."""
        return self._parts.offload.sync
