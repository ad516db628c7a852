"""Who gets which message: patterns are matched once a topic, and then remembered."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tercio.bus.topics import Pattern

_REMEMBERED: Final = 4096
"""Topics. Whoever invents a new one for each message makes us forget, not grow."""

REQUESTS: Final = ".q."
"""What topics of requests begin with."""

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

    @property
    def is_callback(self) -> bool:
        """Whether a function of the application takes them, for messages or for requests."""
        text = self.patterns[0].text
        return self.lost is None and (text[0] != "." or text.startswith(REQUESTS))


class Desk:
    """The `Receiver` of a set of entries. Entries come and go in any thread.

    Who comes or goes with plain topics costs the same however many others there are: only what is
    remembered of those topics is forgotten. A pattern with ``*`` makes us forget all.
    """

    def __init__(self) -> None:
        # Re-entrant: a finalizer may take its entry away in the middle of anything here.
        self._lock = threading.RLock()
        self._entries: dict[Entry, int] = {}  # in the order in which they came
        self._numbers = itertools.count()
        self._by_topic: dict[str, dict[Entry, None]] = {}
        self._open: dict[Entry, None] = {}  # those with a pattern that many topics may match
        self._own = 0  # entries that want what this process publishes
        self.wants_own: bool = False
        self.routes: Remembered = Remembered(self, is_own=False)
        self.own_routes: Remembered = Remembered(self, is_own=True)
        self.lost_count: int = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """From the next message on."""
        with self._lock:
            self._entries[entry] = next(self._numbers)
            for pattern in entry.patterns:
                if pattern.is_topic:
                    self._by_topic.setdefault(pattern.text, {})[entry] = None
                else:
                    self._open[entry] = None
            self._own += entry.own
            self._changed(entry)

    def remove(self, entry: Entry) -> None:
        """From the next message on; nothing if it is not there."""
        with self._lock:
            if self._entries.pop(entry, None) is None:
                return
            for pattern in entry.patterns:
                if (there := self._by_topic.get(pattern.text)) is not None:
                    there.pop(entry, None)
                    if not there:
                        del self._by_topic[pattern.text]
            self._own -= entry.own
            self._changed(entry)
            self._open.pop(entry, None)

    def lost(self, count: int, sender: int) -> None:
        """Tell everybody: what was lost has no topic any more."""
        self.lost_count += count
        for entry in self:
            if entry.lost is not None:
                entry.lost(count)

    def route(self, topic: bytes, routes: "Remembered") -> Callable[[bytes], None] | None:
        """Who takes messages of a topic, which ``routes`` remembers from now on."""
        # Locked: who comes meanwhile would be forgotten by what is remembered after it.
        with self._lock:
            if len(routes) >= _REMEMBERED:
                routes.clear()
            routes[topic] = route = self._find(topic, is_own=routes.is_own)
            return route

    def _changed(self, entry: Entry) -> None:
        self.wants_own = self._own > 0
        for routes in (self.routes, self.own_routes):
            if entry in self._open:
                routes.clear()
            else:
                for pattern in entry.patterns:
                    routes.pop(pattern.text.encode(), None)

    def _find(self, topic: bytes, *, is_own: bool) -> Callable[[bytes], None] | None:
        try:
            text = topic.decode()
        except UnicodeDecodeError:  # of a broken process
            return None
        found = list(self._by_topic.get(text, ()))
        if self._open:
            words = text.split(".")
            known = set(found)
            found += [
                entry
                for entry in self._open
                if entry not in known and any(pattern.matches(words) for pattern in entry.patterns)
            ]
            found.sort(key=self._entries.__getitem__)
        takers = [entry.taker(text) for entry in found if entry.own or not is_own]
        if not takers:
            return None
        if len(takers) == 1:
            return takers[0]

        def give_all(body: bytes) -> None:
            for take in takers:
                take(body)

        return give_all


class Remembered(dict[bytes, Callable[[bytes], None] | None]):
    """Asks the desk about a topic when it is first asked for."""

    def __init__(self, desk: Desk, *, is_own: bool) -> None:
        super().__init__()
        self.is_own = is_own
        self._desk = desk

    def __missing__(self, topic: bytes) -> Callable[[bytes], None] | None:
        return self._desk.route(topic, self)
