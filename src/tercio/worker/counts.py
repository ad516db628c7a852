"""Count what a server does, in the worker's row of the scoreboard."""

import asyncio
import struct
from bisect import bisect_left
from typing import Final

from tercio.dataplane.scoreboard import DURATION_BOUNDS, Field, Row
from tercio.http.traffic import Traffic

# Plain numbers: looking up a member of an enum costs as much as the count itself.
_IN_FLIGHT: Final = int(Field.IN_FLIGHT)
_CONNECTIONS: Final = int(Field.CONNECTIONS)
_WEBSOCKETS: Final = int(Field.WEBSOCKETS)
_REQUESTS: Final = int(Field.REQUESTS)
_RECEIVED_BYTES: Final = int(Field.RECEIVED_BYTES)
_SENT_BYTES: Final = int(Field.SENT_BYTES)
_ERRORS: Final = int(Field.ERRORS)
_ACCEPTED: Final = int(Field.ACCEPTED)
_REFUSED: Final = int(Field.REFUSED)
_PEERS_REFUSED: Final = int(Field.PEERS_REFUSED)
_WS_THROTTLED: Final = int(Field.WS_THROTTLED)
_DURATIONS: Final = int(Field.DURATIONS)

# Requests, the statuses by their first digit, the durations and the bytes lie side by side: packed
# at once, they cost half of what an array costs that is made for them. Not into shared memory,
# though: to pack is to write zeros first, and whoever reads then sees totals fall.
_ENDED: Final = struct.Struct(f"{_SENT_BYTES + 1 - _REQUESTS}Q")
_pack: Final = _ENDED.pack_into
_ENDED_WORDS: Final = slice(_REQUESTS, _SENT_BYTES + 1)

_BELOW: Final = (-1.0, *DURATION_BOUNDS)
_ABOVE: Final = (*DURATION_BOUNDS, float("inf"))


class Counts:
    """The server's `Hooks`.

    Called by the loop's thread only, which alone writes these words: the numbers are kept here and
    only stored there, as reading shared memory back costs more than the sum. That a request has
    begun is stored at once: its application may block next. What comes with its end are many words:
    they are stored once a turn of the loop while other requests are under way, else at once.
    """

    __slots__ = (
        "_above",
        "_accepted",
        "_below",
        "_bucket",
        "_by_duration",
        "_connections",
        "_digits",
        "_draft",
        "_duration",
        "_errors",
        "_in_bucket",
        "_in_flight",
        "_is_stored",
        "_loop",
        "_oks",
        "_refused",
        "_websockets",
        "_words",
        "traffic",
    )

    def __init__(self, row: Row) -> None:
        self._words = row.words
        self._draft = memoryview(bytearray(_ENDED.size)).cast("Q")
        self.traffic = Traffic()
        self._accepted = self._connections = self._websockets = self._errors = 0
        self._in_flight = self._refused = 0
        self._duration = 0.0  # seconds
        self._by_duration = [0] * (len(DURATION_BOUNDS) + 1)  # but for the bucket below
        self._bucket = 0  # of the last duration; most are like the one before them
        self._in_bucket = 0
        self._below, self._above = _BELOW[0], _ABOVE[0]
        # Requests and what was refused, by the first digit of their status, 0 = no answer.
        self._digits = [0] * 6
        self._oks = 0  # those with 200, which are not in there
        self._is_stored = True
        self._loop: asyncio.AbstractEventLoop | None = None

    def connection_made(self) -> None:
        self._connections += 1
        self._accepted += 1
        self._words[_CONNECTIONS] = self._connections
        self._words[_ACCEPTED] = self._accepted

    def connection_adopted(self) -> None:
        self._connections += 1
        self._words[_CONNECTIONS] = self._connections

    def connection_lost(self) -> None:
        self._connections -= 1
        if not self._is_stored:
            self._store()  # nobody is to see the connection gone and its request under way
        self.traffic_passed()
        self._words[_CONNECTIONS] = self._connections

    def request_begun(self) -> None:
        # Not with the rest: a turn with one request would pay for two callbacks instead of one, and
        # a callback costs more than ten such words.
        in_flight = self._in_flight = self._in_flight + 1
        self._words[_IN_FLIGHT] = in_flight

    def request_moved(self) -> None:
        self._in_flight -= 1
        self._words[_IN_FLIGHT] = self._in_flight

    def request_ended(self, status: int, seconds: float) -> None:
        self._in_flight -= 1
        self._duration += seconds
        if status == 200:
            self._oks += 1  # nearly all: a third of the time that the list takes
        else:
            self._digits[status // 100] += 1
        if not self._below < seconds <= self._above:
            self._turn_to_bucket_of(seconds)
        self._in_bucket += 1
        if self._is_stored:
            if not self._in_flight:
                self._store()  # for one request a turn, a callback is the dearest part of it
                return
            self._is_stored = False
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._store)

    def request_refused(self, status: int) -> None:
        # In its class, as clients see it, and by itself: who counts requests to know how much an
        # application has done, or when its worker is to be replaced, must not count these.
        self._refused += 1
        self._digits[status // 100] += 1
        self._words[_REFUSED] = self._refused
        self._store()

    def connection_refused(self) -> None:
        self._words[_PEERS_REFUSED] += 1  # seldom: nobody keeps the number

    def websocket_throttled(self) -> None:
        self._words[_WS_THROTTLED] += 1

    def websocket_opened(self) -> None:
        self._websockets += 1
        self._words[_WEBSOCKETS] = self._websockets

    def websocket_closed(self) -> None:
        self._websockets -= 1
        self._words[_WEBSOCKETS] = self._websockets

    def traffic_passed(self) -> None:
        self._words[_RECEIVED_BYTES] = self.traffic.received
        self._words[_SENT_BYTES] = self.traffic.sent

    def app_failed(self) -> None:
        self._errors += 1
        self._words[_ERRORS] = self._errors

    def _turn_to_bucket_of(self, seconds: float) -> None:
        self._store_bucket()
        index = self._bucket = bisect_left(DURATION_BOUNDS, seconds)
        self._in_bucket = self._by_duration[index]
        self._below, self._above = _BELOW[index], _ABOVE[index]

    def _store_bucket(self) -> None:
        self._by_duration[self._bucket] = self._in_bucket
        self._words[_DURATIONS + self._bucket] = self._in_bucket

    def _store(self) -> None:
        # For one request a turn this is most of what counting costs: no calls, no loops.
        self._is_stored = True
        none, ones, twos, threes, fours, fives = self._digits
        twos += self._oks
        words = self._words
        words[_DURATIONS + self._bucket] = self._in_bucket
        words[_IN_FLIGHT] = self._in_flight
        traffic = self.traffic
        _pack(
            self._draft,
            0,
            none + ones + twos + threes + fours + fives - self._refused,
            ones,
            twos,
            threes,
            fours,
            fives,
            int(self._duration * 1e6),
            traffic.received,
            traffic.sent,
        )
        words[_ENDED_WORDS] = self._draft
