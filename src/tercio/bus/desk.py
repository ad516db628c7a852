"""Who gets which message: patterns are matched once a topic, and then remembered."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tercio.bus.engine import Routes
from tercio.bus.topics import Pattern

_REMEMBERED: Final = 4096
"""Topics. Whoever invents a new one for each message makes us forget, not grow."""

Take = Callable[[bytes], None]
"""Takes the bodies of one topic, and raises nothing."""

Taker = Callable[[str], Take]
"""What makes one for a topic."""


def by_topic(take: Callable[[str, bytes], None]) -> Taker:
    """A `Taker` for what is told the topic with each body."""
    return lambda topic: partial(take, topic)


@dataclass(eq=False, slots=True)
class Entry:
    """Somebody who takes messages."""

    patterns: tuple[Pattern, ...]
    taker: Taker
    own: bool
    lost: Callable[[int], None] | None = None


class Desk:
    """The `Receiver` of a set of entries. Entries come and go in any thread."""

    def __init__(self) -> None:
        self._entries: tuple[Entry, ...] = ()
        self._lock = threading.Lock()
        self.routes: Routes = _Routes((), is_own=False)
        self.own_routes: Routes = _Routes((), is_own=True)
        self.wants_own: bool = False
        self.lost_count: int = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """From the next message on."""
        with self._lock:
            self._set((*self._entries, entry))

    def remove(self, entry: Entry) -> None:
        """From the next message on; nothing if it is not there."""
        with self._lock:
            self._set(tuple(each for each in self._entries if each is not entry))

    def _set(self, entries: tuple[Entry, ...]) -> None:
        self._entries = entries
        self.wants_own = any(entry.own for entry in entries)
        self.routes = _Routes(entries, is_own=False)
        self.own_routes = _Routes(entries, is_own=True)

    def lost(self, count: int, sender: int) -> None:
        """Tell everybody: what was lost has no topic any more."""
        self.lost_count += count
        for entry in self._entries:
            if entry.lost is not None:
                entry.lost(count)


class _Routes(dict[bytes, Callable[[bytes], None] | None]):
    """Matches a topic when it is first asked for."""

    def __init__(self, entries: tuple[Entry, ...], *, is_own: bool) -> None:
        super().__init__()
        self._entries = [entry for entry in entries if entry.own or not is_own]

    def __missing__(self, topic: bytes) -> Callable[[bytes], None] | None:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[topic] = route = self._find(topic)
        return route

    def _find(self, topic: bytes) -> Callable[[bytes], None] | None:
        try:
            text = topic.decode()
        except UnicodeDecodeError:  # of a broken process
            return None
        words = text.split(".")
        takers = [
            entry.taker(text)
            for entry in self._entries
            if any(pattern.matches(words) for pattern in entry.patterns)
        ]
        if not takers:
            return None
        if len(takers) == 1:
            return takers[0]

        def give_all(body: bytes) -> None:
            for take in takers:
                take(body)

        return give_all
