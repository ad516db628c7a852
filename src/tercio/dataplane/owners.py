"""Remember which worker serves a session: a table in shared memory that nobody locks.

Each entry is one word, so that it is written and read as a whole: a part of the key's fingerprint
and the worker. A key may be in any of the few words of its row; when they are all taken, one whose
worker is gone makes room, else one by chance. What is forgotten is no error: the key goes to its
home again. Two keys with the same part of a fingerprint share an owner, which is no error either.
"""

from collections.abc import Callable
from typing import Final, Self

from tercio.dataplane.segment import Segment

_ROWS: Final = 1 << 16
_WAYS: Final = 4
_TAG_BITS: Final = 22
_SLOT_BITS: Final = 11  # --max-workers is at most 1024
_INCARNATION_BITS: Final = 31

Worker = tuple[int, int]
"""A slot and an incarnation."""


class Owners:
    """Room for 262,144 sessions in 2 MiB, of which only what is used takes memory."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words

    @classmethod
    def create(cls) -> Self:
        """Make an empty table. Raises `CouldNotStart` without memory."""
        return cls(Segment.create("tercio-owners", _ROWS * _WAYS * 8, sparse=True))

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Map an inherited table. Raises `ValueError` for another size."""
        segment = Segment.attach(descriptor)
        if segment.size != _ROWS * _WAYS * 8:
            segment.close()
            raise ValueError("not a table of owners of this layout")
        return cls(segment)

    @property
    def descriptor(self) -> int:
        """The descriptor to pass on to a worker."""
        return self._segment.descriptor

    def find(self, fingerprint: int) -> Worker | None:
        """The worker that serves a key; None if nobody is known to. It may be gone."""
        row, tag = _place(fingerprint)
        words = self._words
        for index in range(row, row + _WAYS):
            word = words[index]
            if word and word >> (_SLOT_BITS + _INCARNATION_BITS) == tag:
                return _worker(word)
        return None

    def put(self, fingerprint: int, worker: Worker, is_alive: Callable[[Worker], bool]) -> None:
        """Say who serves a key from now on."""
        row, tag = _place(fingerprint)
        words = self._words
        free = None
        for index in range(row, row + _WAYS):
            word = words[index]
            if word and word >> (_SLOT_BITS + _INCARNATION_BITS) == tag:
                free = index
                break
            if free is None and (not word or not is_alive(_worker(word))):
                free = index
        if free is None:
            free = row + (fingerprint >> 61) % _WAYS
        slot, incarnation = worker
        incarnation &= (1 << _INCARNATION_BITS) - 1
        word = (tag << _SLOT_BITS | slot + 1) << _INCARNATION_BITS | incarnation
        words[free] = word

    def close(self) -> None:
        """Give up the mapping and the descriptor."""
        self._segment.close()


def _place(fingerprint: int) -> tuple[int, int]:
    """The first word of the key's row, and the part of the fingerprint that its entry bears."""
    row = fingerprint % _ROWS * _WAYS
    return row, (fingerprint // _ROWS) % (1 << _TAG_BITS)


def _worker(word: int) -> Worker:
    incarnation = word & ((1 << _INCARNATION_BITS) - 1)
    return (word >> _INCARNATION_BITS & ((1 << _SLOT_BITS) - 1)) - 1, incarnation
