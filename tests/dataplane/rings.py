"""Steps, sinks and stand-ins for the tests of rings."""

import select
from collections.abc import Callable
from typing import Any, cast

from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings

CAPACITY = 128 << 10
NEVER = float("inf")


class Basket:
    """Takes every message, and notes what was lost."""

    def __init__(self, *, wants_own: bool = True) -> None:
        self.found: list[tuple[bytes, bytes]] = []
        self.losses: list[tuple[int, int]] = []
        self.wants_own = wants_own
        self.routes = self.own_routes = _Everything(self.found)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.found]

    @property
    def lost_count(self) -> int:
        return sum(count for count, _ in self.losses)

    def lost(self, count: int, sender: int) -> None:
        self.losses.append((count, sender))


class _Everything(dict[bytes, Callable[[bytes], None] | None]):
    def __init__(self, found: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._found = found

    def __missing__(self, topic: bytes) -> Callable[[bytes], None]:
        return lambda body: self._found.append((topic, body))


def publish(writer: RingWriter, *bodies: bytes) -> None:
    for body in bodies:
        writer.add(b"topic", body)
    writer.flush()


def read(reader: RingReader, basket: Basket | None = None) -> Basket:
    basket = basket or Basket()
    while reader.drain(basket, NEVER) or reader.has_more(basket):
        pass
    return basket


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


class Killed(Exception):
    """The process of a writer ended here."""


class Meanwhile:
    """Rings as a reader sees them in which ``publish`` happens right after its first look at them:
    at the words or at the heads, whichever it takes first.
    """

    def __init__(self, rings: Rings, publish: Callable[[], None]) -> None:
        self._rings = rings
        self._publish: Callable[[], None] | None = publish
        self.words = _Looked(self, rings.words)
        self.head_words = _Looked(self, rings.head_words)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rings, name)

    def as_rings(self) -> Rings:
        return cast("Rings", self)

    def looked(self) -> None:
        publish, self._publish = self._publish, None
        if publish is not None:
            publish()


class _Looked:
    """Some words; what is read of them is what they were before ``looked`` is called."""

    def __init__(self, meanwhile: Meanwhile, words: "memoryview[int]") -> None:
        self._meanwhile = meanwhile
        self._words = words

    def __getitem__(self, which: Any) -> Any:
        found = self._words[which]
        if isinstance(found, int):
            return found
        return _Looked(self._meanwhile, found)

    def tolist(self) -> list[int]:
        found = self._words.tolist()
        self._meanwhile.looked()
        return found


class Watched:
    """Rings as a writer sees them that calls ``at_store(n)`` before and within its n-th store.

    What it raises ends the writer there, which may be the middle of a long store.
    """

    def __init__(self, rings: Rings, seat: int, at_store: Callable[[int], None]) -> None:
        self._rings = rings
        self._at_store = at_store
        self._stores = 0
        self.words = _WatchedMemory(self, rings.words)
        self.data = {seat: _WatchedMemory(self, rings.data[seat])}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rings, name)

    def as_rings(self) -> Rings:
        return cast("Rings", self)

    def step(self) -> None:
        self._stores += 1
        self._at_store(self._stores)


class _WatchedMemory:
    def __init__(self, watched: Watched, memory: memoryview) -> None:
        self._watched = watched
        self._memory = memory

    def __getitem__(self, at: Any) -> Any:
        return self._memory[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        self._watched.step()
        if isinstance(at, slice):
            start, half = at.start or 0, len(value) // 2
            self._memory[start : start + half] = value[:half]
            self._watched.step()
            self._memory[start + half : start + len(value)] = value[half:]
        else:
            self._memory[at] = value
