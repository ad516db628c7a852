"""The metrics of one process in shared memory: a directory of names, and 8-byte values.

The directory grows from the front and the values from the end, until they meet. There is one
writer. An entry is complete, and its values set, before the count that shows it is raised: a
process may be killed between any two stores, and a reader sees all of an entry or nothing.
"""

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

Cells: TypeAlias = "memoryview[float]"
"""8-byte words as floats: exact for whole numbers to 2**53, and half the price of integers."""

_TURN: Final = 0  # raised when the region is cleared: what was read of it before means nothing
_PID: Final = 1
_COUNT: Final = 2
_DROPPED: Final = 3
_HEADER_WORDS: Final = 8
_ENTRY_WORDS: Final = 2  # length and checksum; first value and how many


class Entry(NamedTuple):
    """A payload of the directory, and where its values are (an index of `Region.cells`)."""

    payload: bytes
    first: int
    slots: int


class Torn(Exception):
    """What should be an entry is none; nothing behind it can be found."""


class Region:
    """See the module. ``memory`` is a multiple of 8 bytes, and zeroed when it is new."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory.cast("B")
        self._words = self._bytes.cast("Q")
        self.cells: Cells = self._bytes.cast("d")
        """All words, as the values see them."""
        self._end = _HEADER_WORDS  # the first free word of the directory
        self._floor = len(self._words)  # the first word of the values

    @property
    def turn(self) -> int:
        """How often the region was cleared."""
        return self._words[_TURN]

    @property
    def pid(self) -> int:
        """The process that writes here; 0 for nobody."""
        return self._words[_PID]

    @property
    def count(self) -> int:
        """How many entries are there to read."""
        return self._words[_COUNT]

    @property
    def dropped(self) -> int:
        """How many series found no room."""
        return self._words[_DROPPED]

    def hold(self, pid: int) -> None:
        """Become the region's writer."""
        self._words[_PID] = pid

    def drop(self, number: int = 1) -> None:
        """Count series that found no room."""
        self._words[_DROPPED] += number

    def add(self, payload: bytes, slots: int = 0, initial: float = 0.0) -> int | None:
        """Publish an entry with ``slots`` values; return the first one's place, None without room.

        Only the writer calls it, one thread at a time.
        """
        size = _ENTRY_WORDS + _words_of(payload)
        first = self._floor - slots
        if self._end + size > first:
            return None
        for _ in self.stores(payload, slots, initial):
            pass
        return first

    def stores(self, payload: bytes, slots: int, initial: float) -> Iterator[None]:
        """What `add` does, with a stop after each store: a test dies at every one of them."""
        start, first = self._end, self._floor - slots
        for index in range(first, self._floor):
            self.cells[index] = initial
            yield
        begin = (start + _ENTRY_WORDS) * 8
        self._bytes[begin : begin + len(payload)] = payload
        yield
        place = first | slots << 32
        self._words[start + 1] = place
        yield
        self._words[start] = len(payload) | _checksum(payload, place) << 32
        yield
        self._words[_COUNT] += 1
        self._end = start + _ENTRY_WORDS + _words_of(payload)
        self._floor = first

    def read(self, at: int = 0) -> tuple[Entry, int]:
        """The entry at word ``at`` (0: the first), and where the next one is. Raises `Torn`."""
        at = at or _HEADER_WORDS
        total = len(self._words)
        if at + _ENTRY_WORDS > total:
            raise Torn
        head, place = self._words[at], self._words[at + 1]
        length, first, slots = head & 0xFFFF_FFFF, place & 0xFFFF_FFFF, place >> 32
        begin = (at + _ENTRY_WORDS) * 8
        if begin + length > len(self._bytes) or first + slots > total:
            raise Torn
        payload = bytes(self._bytes[begin : begin + length])
        if head >> 32 != _checksum(payload, place):
            raise Torn
        return Entry(payload, first, slots), at + _ENTRY_WORDS + _words_of(payload)

    def clear(self) -> None:
        """Make it ready for another writer, whose values will replace the old ones."""
        self._words[_COUNT] = 0
        self._words[_DROPPED] = 0
        self._words[_PID] = 0
        self._words[_TURN] += 1
        self._end = _HEADER_WORDS
        self._floor = len(self._words)

    def release(self) -> None:
        """Give up the views of the memory."""
        for view in (self.cells, self._words, self._bytes):
            view.release()


def _words_of(payload: bytes) -> int:
    return (len(payload) + 7) // 8


def _checksum(payload: bytes, place: int) -> int:
    # Also for processors that let stores overtake each other: an early count shows no half entry.
    return zlib.crc32(payload, place & 0xFFFF_FFFF) ^ (place >> 32)
