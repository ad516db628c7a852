"""Count what a server does, in the worker's row of the scoreboard."""

from typing import Final

from tercio.dataplane.scoreboard import Field, Row

# Plain numbers: looking up a member of an enum costs as much as the count itself.
_IN_FLIGHT: Final = int(Field.IN_FLIGHT)
_CONNECTIONS: Final = int(Field.CONNECTIONS)
_WEBSOCKETS: Final = int(Field.WEBSOCKETS)
_REQUESTS: Final = int(Field.REQUESTS)
_STATUS: Final = int(Field.STATUS_1XX) - 1  # + 2 is STATUS_2XX
_DURATION_US: Final = int(Field.DURATION_US)
_ERRORS: Final = int(Field.ERRORS)
_ACCEPTED: Final = int(Field.ACCEPTED)


class Counts:
    """The server's `Hooks`.

    Called by the loop's thread only, which alone writes these words: the numbers are kept here and
    only stored there, as reading shared memory back costs more than the sum.
    """

    __slots__ = (
        "_accepted",
        "_connections",
        "_duration_us",
        "_errors",
        "_in_flight",
        "_requests",
        "_statuses",
        "_websockets",
        "_words",
    )

    def __init__(self, row: Row) -> None:
        self._words = row.words
        self._accepted = self._connections = self._websockets = self._errors = 0
        self._in_flight = self._requests = self._duration_us = 0
        self._statuses = [0] * 6  # by the first digit

    def connection_made(self) -> None:
        self._connections += 1
        self._accepted += 1
        self._words[_CONNECTIONS] = self._connections
        self._words[_ACCEPTED] = self._accepted

    def connection_lost(self) -> None:
        self._connections -= 1
        self._words[_CONNECTIONS] = self._connections

    def request_begun(self) -> None:
        self._in_flight += 1
        self._words[_IN_FLIGHT] = self._in_flight

    def request_ended(self, status: int, seconds: float) -> None:
        words = self._words
        self._in_flight -= 1
        words[_IN_FLIGHT] = self._in_flight
        self._requests += 1
        words[_REQUESTS] = self._requests
        self._duration_us += int(seconds * 1e6)
        words[_DURATION_US] = self._duration_us
        digit = status // 100
        if 1 <= digit <= 5:
            self._statuses[digit] += 1
            words[_STATUS + digit] = self._statuses[digit]

    def websocket_opened(self) -> None:
        self._websockets += 1
        self._words[_WEBSOCKETS] = self._websockets

    def websocket_closed(self) -> None:
        self._websockets -= 1
        self._words[_WEBSOCKETS] = self._websockets

    def app_failed(self) -> None:
        self._errors += 1
        self._words[_ERRORS] = self._errors
