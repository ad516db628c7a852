"""The journal: every event gets a number and a time, a log line, and to whoever listens.

It keeps the newest events in memory; a listener that asks for older ones learns how many it
missed from the numbers.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final

from tercio.core.events import ClusterStarted, Event, Level
from tercio.core.model import WorkerId
from tercio.logs import EVENT, is_structured
from tercio.primary.banner import banner
from tercio.redaction import redacted

KEPT: Final = 1000

_LEVELS: Final = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}

_logger = logging.getLogger("tercio")


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its place in history. ``time`` is Unix seconds, for people only."""

    sequence: int
    time: float
    event: Event

    def to_json(self) -> dict[str, object]:
        """The entry as the control protocol carries it."""
        return {
            **self.event.to_fields(),
            "sequence": self.sequence,
            "time": self.time,
            "kind": type(self.event).__name__,
            "level": self.event.level.value,
            "text": self.event.text,
        }


def _without_secrets(event: Event) -> Event:
    changed = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, str | tuple) and not isinstance(value, WorkerId):
            hidden = redacted(value)
            if hidden != value:
                changed[field.name] = hidden
    return replace(event, **changed) if changed else event


Listener = Callable[[Entry], None]


class Journal:
    """All events of this cluster."""

    def __init__(self, lines_dropped: Callable[[], int] = lambda: 0) -> None:
        self.lines_dropped = lines_dropped
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self._next = 1
        self._listeners: list[Listener] = []
        self._last_traceback = ""

    def publish(self, event: Event) -> None:
        """Number, keep and log an event, and pass it on; no secret leaves with it."""
        event = _without_secrets(event)
        entry = Entry(self._next, time.time(), event)
        self._next += 1
        if not event.is_passing:
            self.entries.append(entry)
        self._log(event)
        for listener in tuple(self._listeners):
            listener(entry)

    def since(self, sequence: int) -> list[Entry]:
        """The kept entries after number ``sequence``."""
        return [entry for entry in self.entries if entry.sequence > sequence]

    @property
    def newest(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._next - 1

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each event from now on; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _log(self, event: Event) -> None:
        if is_structured():
            said = {"event": type(event).__name__, **event.to_fields()}
            if isinstance(who := getattr(event, "worker", None), WorkerId):
                said["slot"] = who.slot
            _logger.log(_LEVELS[event.level], "%s", event.text, extra={EVENT: said})
            return
        if isinstance(event, ClusterStarted):
            for line in banner(event):
                _logger.info(line.plain, extra={"color_message": line.coloured})
            return
        _logger.log(_LEVELS[event.level], "%s", event.text)
        details = (getattr(event, "traceback", "") or getattr(event, "stack", "")).rstrip()
        # N workers fail with one and the same traceback: it is shown once.
        if details and details != self._last_traceback and details not in event.text:
            self._last_traceback = details
            _logger.log(_LEVELS[event.level], "%s", details)
