"""The scoreboard: one row of counters and beats a seat, in shared memory.

A row has one writer, the worker that holds the seat, and any number of readers. When the worker
is dead and reaped the primary folds its row into the accumulator, under an epoch word: odd while
it folds, so that a reader that saw an odd or a changed epoch reads again. Totals are therefore
exact after a SIGKILL and never go back: a count is in the row or in the accumulator, never in
both and never in neither.

It does not know what the numbers mean to a person; `status` does.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Final, Self, TypeVar

from tercio.dataplane.segment import Segment

LAYOUT: Final = 5
"""Version of the words below; a worker of another layout refuses to attach."""

_MAGIC: Final = 0x5445_5243_494F_0001
_ROW_WORDS: Final = 128  # 1 KiB: whole cache lines, so that neighbours never share one
_FOLD_WAIT: Final = 2.0  # seconds; a fold takes microseconds, but may be preempted


class Field(IntEnum):
    """The words of a row. Counters from `FIRST_COUNTER` on are folded, the others are gauges.

    Each part has a range to grow in: the server's counts 16 to 31, the bus 9 to 11 and 32 to 47,
    the state 12 to 15 and 48 to 63, connections 64 to 79, what each request changes 80 to 95,
    durations 96 to 119, more gauges 120 to 127.
    """

    PID = 0
    INCARNATION = 1
    PHASE = 2  # a `WorkerPhase`
    LOOP_BEAT = 3  # monotonic nanoseconds of the last turn of the event loop
    THREAD_BEAT = 4  # the same of the watchdog thread
    IN_FLIGHT = 5  # requests begun and not ended
    CONNECTIONS = 6  # open connections
    WEBSOCKETS = 7  # of those, upgraded ones
    LOOP_LAG_US = 8  # how late the loop ran the last callback that the watchdog gave it
    STATE_WAITING = 12  # monotonic nanoseconds since a thread waits to write the state; 0: none
    STATE_HOLDING = 13  # the same of holding the state's write lock, or trying to
    STATE_USED = 14  # bytes, in the row of the one process that looks after the state
    STATE_KEYS = 15
    OVERDUE = 22  # requests to a WSGI application that took too long
    BLOCKED = 23  # times the loop was found blocked
    BLOCKED_US = 24
    LOG_DROPPED = 25
    ERRORS = 26  # exceptions that left the application
    ACCEPTED = 27  # connections made
    REFUSED = 28  # what never became a request, answered by the server; not among REQUESTS
    PEERS_REFUSED = 29  # connections closed as they came, as their peer had too many
    WS_THROTTLED = 30  # times a WebSocket was not read as it had sent too many messages
    HOOK_ERRORS = 31  # hooks that failed or took too long
    BUS_SENT = 32  # messages published
    BUS_RECEIVED = 33  # messages read, wanted or not
    BUS_LOST = 34  # messages overwritten, expired or spoilt before they were read
    BUS_BAD = 35  # batches that were no batches
    STATE_READS = 48
    STATE_WRITES = 49
    STATE_WAITS = 50  # writes that waited in a thread
    STATE_BUSY = 51  # operations given up because another process held the lock too long
    STATE_SLOW = 52  # writes that took, with their wait, more than 50 ms
    STATE_FULL = 53  # operations refused because there was no room
    MOVED_DRAIN = 64  # connections given to another worker, by cause: this one leaves
    MOVED_REBALANCE = 65  # another one has too few
    MOVED_RESCUE = 66  # this one's loop was blocked, and the connection had something to say
    MOVED_STICKY = 67  # what it asks for belongs to another one
    FORWARDED = 68  # connections that came while the loop was blocked, and were passed on
    ADOPTED = 69  # connections taken over from other workers
    TAKEN_BACK = 70  # connections whose new worker died before it read them
    UNMOVED = 71  # connections that nobody took, or that could not be sent
    STOLEN = 72  # connections accepted from the queues of other slots
    RESCUES = 73  # times that connections were rescued from this worker's blocked loop
    REQUESTS = 80  # requests ended
    STATUS_1XX = 81
    STATUS_2XX = 82
    STATUS_3XX = 83
    STATUS_4XX = 84
    STATUS_5XX = 85
    DURATION_US = 86  # sum over all requests, microseconds
    RECEIVED_BYTES = 87
    SENT_BYTES = 88
    DURATIONS = 96  # the first of the counts by `DURATION_BOUNDS`
    SLOT = 120
    GENERATION = 121
    SUSPECT = 122  # monotonic nanoseconds since when the loop is in one callback; 0: it turns
    WATCH_DUE = 123  # monotonic nanoseconds: when the watchdog beats again, at the latest
    TLS_EXPIRES = 126  # Unix time, seconds: when the certificate that is shown ends; 0: no TLS
    PROMPT = 127  # monotonic nanoseconds: when a debugger was last seen at its prompt


class WorkerPhase(IntEnum):
    """What a worker does, as it says itself in its row."""

    BOOTING = 0
    SERVING = 1
    PARKED = 2
    DRAINING = 3


FIRST_COUNTER: Final = 16
_LATE_GAUGES: Final = 120
COUNTERS: Final = tuple(
    field for field in Field if FIRST_COUNTER <= field < _LATE_GAUGES and field != Field.DURATIONS
)

DURATION_BOUNDS: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0,
)  # fmt: skip
"""Seconds. A request counts under the first one that it did not exceed, or above the last."""

DURATION_WORDS: Final = slice(Field.DURATIONS, Field.DURATIONS + len(DURATION_BOUNDS) + 1)
_DURATION_FIELDS: Final = range(DURATION_WORDS.start, DURATION_WORDS.stop)

_T = TypeVar("_T")


class Fact(IntEnum):
    """Words of the header that the primary keeps up to date, for readers who cannot ask it."""

    STARTED = 8  # Unix time, milliseconds
    TARGET = 9  # workers that are wanted
    READY = 10
    RESTARTS = 11  # of workers that ended unasked
    RELOADS = 12  # that were committed
    REJECTED = 13  # reloads that were rolled back
    GENERATION = 14
    PRIMARY_PID = 15
    LOOKED = 16  # monotonic nanoseconds of the primary's last look at queues; 0: it does not look


class Row:
    """One row: ``row[Field.REQUESTS] += 1``. Only the holder of the seat writes."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def __getitem__(self, field: int) -> int:
        value: int = self._words[field]
        return value

    def __setitem__(self, field: int, value: int) -> None:
        self._words[field] = value

    @property
    def words(self) -> memoryview:
        """The row's words for code that counts on the request path."""
        return self._words

    def clear(self) -> None:
        """Zero every word, for the next holder of the seat."""
        for index in range(_ROW_WORDS):
            self._words[index] = 0


class Scoreboard:
    """All rows. Words 0.. of the segment are the header, then the accumulator, then the seats."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        if self._words[0] != _MAGIC or self._words[1] != LAYOUT:
            raise ValueError("not a scoreboard of this layout")
        self.seats: int = self._words[2]
        self._accumulator = self._row(1)
        self._rows = [self._row(2 + seat) for seat in range(self.seats)]

    @classmethod
    def create(cls, seats: int) -> Self:
        """Make a scoreboard with ``seats`` rows. Raises `CouldNotStart` without memory."""
        segment = Segment.create("tercio-scoreboard", (2 + seats) * _ROW_WORDS * 8)
        segment.words[1] = LAYOUT
        segment.words[2] = seats
        segment.words[0] = _MAGIC
        return cls(segment)

    @classmethod
    def attach(cls, descriptor: int) -> Self:
        """Map an inherited scoreboard. Raises `ValueError` for another layout."""
        return cls(Segment.attach(descriptor))

    @property
    def descriptor(self) -> int:
        """The descriptor to pass on to a worker."""
        return self._segment.descriptor

    def row(self, seat: int) -> Row:
        """The row of ``seat``."""
        return self._rows[seat]

    def fact(self, fact: Fact) -> int:
        """What the primary last said."""
        return self._words[fact]

    def state(self, facts: Mapping[Fact, int]) -> None:
        """Say how things are. Only the primary does."""
        for fact, value in facts.items():
            self._words[fact] = value

    def fold(self, seat: int) -> None:
        """Move the counters of a dead worker to the accumulator and clear its row.

        The primary calls it, alone, and only after it has reaped the process: a writer that still
        lives would count into a row that is being cleared.
        """
        row = self._rows[seat]
        self._words[3] += 1  # odd: readers wait
        for field in (*COUNTERS, *_DURATION_FIELDS):
            self._accumulator[field] += row[field]
        row.clear()
        self._words[3] += 1

    def totals(self) -> dict[Field, int]:
        """Each counter over all workers, living and dead: exact, and never falling."""
        rows = (self._accumulator, *self._rows)
        return self._consistent(
            lambda: {field: sum(row[field] for row in rows) for field in COUNTERS}
        )

    def total(self, field: Field) -> int:
        """One counter over all workers, living and dead."""
        rows = (self._accumulator, *self._rows)
        return self._consistent(lambda: sum(row[field] for row in rows))

    def durations(self) -> list[int]:
        """How many requests fell under each of `DURATION_BOUNDS`, and above the last."""
        rows = (self._accumulator, *self._rows)
        return self._consistent(
            lambda: [sum(row[field] for row in rows) for field in _DURATION_FIELDS]
        )

    def _consistent(self, read: Callable[[], _T]) -> _T:
        """What is read while nothing is folded. Raises `TimeoutError`."""
        deadline = time.monotonic() + _FOLD_WAIT
        while True:
            before = self._words[3]
            if before % 2 == 0:
                found = read()
                if self._words[3] == before:
                    return found
            if time.monotonic() > deadline:
                raise TimeoutError("the scoreboard stayed in a fold: did the primary die in one?")
            time.sleep(0)  # let the one who folds go on

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def close(self) -> None:
        """Give up the mapping and the descriptor."""
        for row in (self._accumulator, *self._rows):
            row.words.release()
        self._segment.close()

    def _row(self, index: int) -> Row:
        return Row(self._words[index * _ROW_WORDS : (index + 1) * _ROW_WORDS])
