"""A process writes its ring, with messages of all sizes; two others read, one of them late."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tercio.dataplane.ring_reader import RingReader
from tercio.dataplane.ring_writer import RingWriter
from tercio.dataplane.rings import Rings
from tests.dataplane.rings import Basket

_SIZES: Final = ((0, 90, 700, 3000), (20_000,), (50_000,), (70_000,), (5,))
"""Of the bodies of each batch. The fourth is too large for a ring."""

_STAMP: Final = struct.Struct("=IIII")
"""Whose it is, its batch, its place in the batch, and the sum of all that follows."""


class Writing:
    """See `Story`."""

    def __init__(self, careful: bool) -> None:
        self._rings = Rings.create(2, 256 << 10, careful=careful)
        assert self._rings.parcels is not None
        self._rings.parcels.hold = 0.2  # all that is wanted is read at once
        self._keen, self._late = (RingReader(self._rings, 1) for _ in range(2))
        self._kept, self._late_kept = Basket(), Basket()
        self._writer = 0
        self._at_stake = 0  # messages that the dead may have numbered and not sent
        self._read = self._lost = self._skipped = 0

    def begin(self) -> None:
        self._writer += 1

    def act(self, tell: Callable[[], None]) -> None:
        chance = random.Random(self._writer)
        writer = RingWriter(self._rings, 0)
        for batch, sizes in enumerate(_SIZES):
            for place, size in enumerate(sizes):
                body = chance.randbytes(size)
                stamp = _STAMP.pack(self._writer, batch, place, zlib.crc32(body))
                writer.add(b"a" if place % 2 else b"b", stamp + body)
            writer.flush()
            tell()

    def look(self, told: int) -> None:
        done = len(_SIZES) if told < 0 else told
        self._rings.release(0)
        _drain(self._keen, self._kept)
        found = [_checked(body) for body in self._kept.bodies]
        batches = [
            [(self._writer, batch, place) for place in range(len(sizes))]
            for batch, sizes in enumerate(_SIZES)
        ]
        at_least = [stamp for batch in batches[:done] for stamp in batch]
        at_most = [stamp for batch in batches[: done + 1] for stamp in batch]
        assert found in (at_least, at_most), "a batch came in part, twice or not at all"
        assert self._kept.lost_count <= self._at_stake, "a gap without a reason"
        # What came shows all that is missing before it.
        self._at_stake = 0 if found else self._at_stake
        self._at_stake += len(at_most) - len(at_least) if found == at_least else 0
        self._read += len(found)
        self._lost += self._kept.lost_count
        self._kept = Basket()
        if self._writer % 9 == 0:
            _drain(self._late, self._late_kept)
            self._look_at_late()
        self._rings.tidy()
        assert self._keen.bad == self._late.bad == 0

    def _look_at_late(self) -> None:
        stamps = [_checked(body) for body in self._late_kept.bodies]
        assert stamps == sorted(set(stamps)), "out of order, or twice"
        self._skipped += self._late_kept.lost_count
        self._late_kept = Basket()

    def end(self) -> dict[str, object]:
        self._writer += 1
        self.act(lambda: None)
        self.look(-1)
        numbered = self._rings.words[self._rings.sequences]
        assert self._read + self._lost == numbered, "not every message came or was counted"
        _drain(self._late, self._late_kept)
        self._look_at_late()
        assert self._late.received + self._late.lost == numbered
        self._rings.close()
        return {"read": self._read, "gaps": self._lost, "skipped by the late": self._skipped}


def _drain(reader: RingReader, basket: Basket) -> None:
    while reader.drain(basket, float("inf")) or reader.has_more(basket):
        pass


def _checked(message: bytes) -> tuple[int, int, int]:
    writer, batch, place, total = _STAMP.unpack_from(message)
    assert zlib.crc32(message[_STAMP.size :]) == total, "corrupt"
    return writer, batch, place


def in_order(directory: Path) -> Writing:
    return Writing(careful=False)


def careful(directory: Path) -> Writing:
    return Writing(careful=True)
