"""Tell the service manager what the cluster does, when it asked to be told."""

import asyncio
import os

from tercio.core.events import (
    ClusterReady,
    ReloadCommitted,
    ReloadRefused,
    ReloadRejected,
    ReloadStarted,
    StopStarted,
)
from tercio.primary.journal import Entry, Journal
from tercio.system import notify
from tercio.system.lines import escape


class Systemd:
    """READY, RELOADING, STOPPING, STATUS and WATCHDOG. Nothing without NOTIFY_SOCKET."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        self._loop = loop
        journal.subscribe(self._tell)
        interval = notify.watchdog_usec()
        if interval:
            self._beat(interval / 2e6)

    def _tell(self, entry: Entry) -> None:
        event = entry.event
        match event:
            case ClusterReady():
                notify.ready(os.getpid(), event.text)
            case ReloadStarted():
                notify.reloading()
            case ReloadRefused():
                # systemd waits for both when it was `systemctl reload` that asked.
                notify.reloading()
                notify.ready(os.getpid(), escape(event.text))
            case ReloadCommitted() | ReloadRejected():
                notify.ready(os.getpid(), escape(event.text))
            case StopStarted():
                notify.stopping()
            case _:
                pass

    def _beat(self, seconds: float) -> None:
        notify.watchdog()
        self._loop.call_later(seconds, self._beat, seconds)
