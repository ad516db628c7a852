"""Wake who waits for a lock or an item in another process: a notice on the bus.

It may be lost, as any message: then all who wait look. If its sender dies before it is sent,
nobody hears of that, and so who waits also looks now and then.
"""

from typing import Final

from tercio.bus.bus import Bus
from tercio.state.notifier import LocalNotifier, Watch

_TOPIC: Final = ".state"


class Notices:
    """The state's `Notifier` over all processes that share a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._here = LocalNotifier()
        self._is_listening = False

    def notify(self, key: bytes) -> None:
        """Say that ``key`` changed. From any thread; it never waits."""
        self._here.notify(key)
        self._bus.publish_internal(_TOPIC, key)

    def watch(self, key: bytes) -> Watch:
        """Hear of ``key`` from now on."""
        if not self._is_listening:
            self._is_listening = True
            self._bus.on_internal(_TOPIC, self._here.notify, lambda _: self._here.notify_all())
        return self._here.watch(key)
