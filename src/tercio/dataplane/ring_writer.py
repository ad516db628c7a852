"""Write the ring of one seat. Messages gather in a batch; a full one goes out by itself.

It wakes the processes of other seats, never its own.

Not thread-safe by itself: whoever holds the seat lets one thread at a time in.
"""

import zlib
from array import array
from typing import Final

from tercio.dataplane.frames import (
    BATCH_BYTES,
    HEADER,
    IS_PARCEL,
    LARGEST,
    NOT_OWN,
    PARCEL,
    RUN,
    SIZE,
    TOPIC_LIMIT,
)
from tercio.dataplane.parcels import LIMIT, ParcelWriter
from tercio.dataplane.rings import MARKS, Rings
from tercio.errors import MessageTooLarge

_RUN_SIZE: Final = RUN.size
_SIZE: Final = SIZE.size
_HEADER_SIZE: Final = HEADER.size
_PACK_HEADER: Final = HEADER.pack
_PACK_RUN: Final = RUN.pack
_PACK_SIZE: Final = SIZE.pack


class RingWriter:
    """The one writer of a ring."""

    def __init__(self, rings: Rings, seat: int) -> None:
        self._rings = rings
        self._seat = seat
        self._words = words = rings.words
        self._data = rings.data[seat]
        self._capacity = rings.capacity
        self._eighth = rings.capacity // 8
        self._head_word = rings.heads + seat
        self._reserve_word = rings.reserves + seat
        self._sequence_word = rings.sequences + seat
        self._marks = rings.marks + seat * MARKS
        self.head: int = words[self._head_word]
        self.sequence: int = words[self._sequence_word]
        # Never lowered: behind the head may lie what the holder before was killed in.
        self._reserve: int = max(words[self._reserve_word], self.head)
        self._parts: list[bytes] = []  # runs that are complete
        self._count = 0  # of messages in them
        self._length = 0  # of all that waits
        self._topic = b""  # of the run that grows, with its flags, sizes and bodies
        self._flags = -1
        self._sizes: list[int] = []
        self._bodies: list[bytes] = []
        self.parcels: ParcelWriter | None = (
            None if rings.parcels is None else ParcelWriter(rings.parcels, seat)
        )

    @property
    def pending(self) -> int:
        """Bytes that wait for `flush`."""
        return self._length

    def has_room(self, slowest: int) -> bool:
        """Whether a reader that is at ``slowest`` loses nothing by one more message.

        Half of the ring, and of the parcels, is what we may be ahead: the rest has room for the
        largest message, and for batches that other threads are about to fill.
        """
        if self.head + self._length - slowest > self._capacity // 2:
            return False
        return self.parcels is None or self.parcels.wanted(slowest) <= LIMIT

    def add(self, topic: bytes, body: bytes, *, own: bool = True) -> None:
        """Put a message in the batch. Raises `MessageTooLarge`, and nothing was sent then."""
        size = len(body)
        length = self._length + _SIZE + size
        flags = 0 if own else NOT_OWN
        if topic != self._topic or flags != self._flags or length > BATCH_BYTES:
            self._begin(topic, body, flags)
            return
        self._length = length
        self._sizes.append(size)
        self._bodies.append(body)

    def _begin(self, topic: bytes, body: bytes, flags: int) -> None:
        """Add the first message of a run, in another batch if this one would be too long."""
        if len(topic) > TOPIC_LIMIT:
            raise MessageTooLarge(f"a topic of {len(topic)} bytes: the limit is {TOPIC_LIMIT}")
        frame = _RUN_SIZE + len(topic) + _SIZE
        size = len(body)
        if frame + size > LARGEST:
            size = PARCEL.size
            flags |= IS_PARCEL
        if self._length + frame + size > BATCH_BYTES:
            self.flush()
        if flags & IS_PARCEL:
            body = self._as_parcel(body)
        if self._sizes:
            self._end_run()
        self._topic, self._flags = topic, flags
        self._length += frame + size
        self._sizes.append(size)
        self._bodies.append(body)

    def _end_run(self) -> None:
        sizes, bodies, topic = self._sizes, self._bodies, self._topic
        count = len(sizes)
        if count == 1:
            head = _PACK_RUN(1, len(topic), self._flags)
            self._parts += (head, topic, _PACK_SIZE(sizes[0]), bodies[0])
            sizes.clear()
            bodies.clear()
        else:
            table = array("I", sizes).tobytes()
            self._parts += (_PACK_RUN(count, len(topic), self._flags), topic, table, *bodies)
            self._sizes, self._bodies = [], []
        self._count += count
        self._flags = -1  # what comes next begins another one

    def _as_parcel(self, body: bytes) -> bytes:
        if len(body) > LIMIT:
            raise MessageTooLarge(f"a message of {len(body)} bytes: the limit is {LIMIT}")
        if self.parcels is None:
            raise MessageTooLarge(
                f"a message of {len(body)} bytes: files may not be as large as it takes to keep "
                f"more than {LARGEST} bytes (see ulimit -f)"
            )
        total = zlib.crc32(body) if self._rings.is_careful else 0
        return PARCEL.pack(self.parcels.put(body, self.head), len(body), total)

    def flush(self) -> bool:
        """Write the batch and wake who sleeps; False if there was nothing."""
        if self._sizes:
            self._end_run()
        count = self._count
        if not count:
            return False
        parts, length = self._parts, self._length
        self._parts = []
        self._length = self._count = 0
        total = 0
        if self._rings.is_careful:
            for part in parts:
                total = zlib.crc32(part, total)
        head = self.head
        end = head + _HEADER_SIZE + length
        words = self._words
        if end > self._reserve:
            words[self._reserve_word] = self._reserve = end
        header = _PACK_HEADER(head, self.sequence, length, count, total)
        if length <= BATCH_BYTES:
            self._put(head, b"".join((header, *parts)))
        else:  # one message: not worth a copy
            at = head
            for part in (header, *parts):
                self._put(at, part)
                at += len(part)
        self.sequence += count
        # Before the head: a number is never given twice, even if we are killed right here.
        words[self._sequence_word] = self.sequence
        words[self._head_word] = self.head = end
        words[self._marks + head // self._eighth % MARKS] = head
        self._wake()
        return True

    def _put(self, position: int, piece: bytes) -> None:
        at = position % self._capacity
        end = at + len(piece)
        if end <= self._capacity:
            self._data[at:end] = piece
        else:
            here = self._capacity - at
            self._data[at:] = piece[:here]
            self._data[: end - self._capacity] = piece[here:]

    def _wake(self) -> None:
        rings = self._rings
        rings.fence()
        asleep = rings.asleep.tobytes()
        seat = asleep.find(1)
        while seat >= 0:
            if seat != self._seat:  # we know what we wrote
                rings.asleep[seat] = 0
                rings.wakes.wake(seat)
            seat = asleep.find(1, seat + 1)
