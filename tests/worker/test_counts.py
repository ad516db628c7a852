"""What the hooks of a server leave in a row of the scoreboard, and when."""

import asyncio
from collections.abc import Iterator

import pytest

from tercio.dataplane.scoreboard import DURATION_WORDS, Field, Row, Scoreboard
from tercio.metrics.builtin import of_scoreboard
from tercio.worker.counts import Counts


@pytest.fixture
def row() -> Iterator[Row]:
    board = Scoreboard.create(1)
    yield board.row(0)
    board.close()


def test_a_request_is_in_flight_before_its_application_may_block(row: Row) -> None:
    counts = Counts(row)
    counts.request_begun()
    assert row[Field.IN_FLIGHT] == 1
    counts.request_begun()
    assert row[Field.IN_FLIGHT] == 2


def test_a_turn_later_all_that_ended_is_counted(row: Row) -> None:
    async def serve() -> None:
        counts = Counts(row)
        statuses = (100, 200, 204, 304, 404, 405, 410, 500, 0)
        for _ in range(len(statuses) + 1):
            counts.request_begun()
        counts.traffic.received, counts.traffic.sent = 700, 9000
        for status in statuses:
            counts.request_ended(status, 0.5)
        await asyncio.sleep(0)

    asyncio.run(serve())
    assert row[Field.IN_FLIGHT] == 1
    assert row[Field.REQUESTS] == 9
    statuses = [row[field] for field in range(Field.STATUS_1XX, Field.STATUS_5XX + 1)]
    assert statuses == [1, 2, 1, 3, 1]
    assert row[Field.DURATION_US] == 4_500_000
    assert (row[Field.RECEIVED_BYTES], row[Field.SENT_BYTES]) == (700, 9000)
    assert row.words[Field.SENT_BYTES + 1] == 0, "the word behind is somebody else's"


def test_each_request_counts_under_the_first_bound_that_it_did_not_exceed(row: Row) -> None:
    async def serve() -> None:
        counts = Counts(row)
        for seconds in (0.0, 0.00025, 0.0003, 60.0, 61.0):
            counts.request_begun()
            counts.request_ended(200, seconds)

    asyncio.run(serve())
    words = list(row.words[DURATION_WORDS])
    assert (words[:2], sum(words[2:-2]), words[-2:]) == ([2, 1], 0, [1, 1])


def test_the_last_request_under_way_is_counted_at_once(row: Row) -> None:
    counts = Counts(row)
    counts.request_begun()
    counts.request_ended(200, 0.5)
    assert (row[Field.IN_FLIGHT], row[Field.REQUESTS], row[Field.STATUS_2XX]) == (0, 1, 1)


def test_a_connection_that_is_gone_leaves_no_request_in_flight(row: Row) -> None:
    async def serve() -> None:
        counts = Counts(row)
        counts.connection_made()
        counts.request_begun()  # of another connection
        counts.request_begun()
        counts.request_ended(200, 0.25)
        counts.connection_lost()
        assert (row[Field.CONNECTIONS], row[Field.IN_FLIGHT], row[Field.REQUESTS]) == (0, 1, 1)

    asyncio.run(serve())


def test_what_was_refused_is_in_its_class_and_no_request(row: Row) -> None:
    async def serve() -> None:
        counts = Counts(row)
        counts.request_begun()
        counts.request_begun()
        counts.request_ended(200, 0.25)
        counts.request_refused(400)
        counts.request_refused(501)
        counts.request_ended(404, 0.25)

    asyncio.run(serve())
    assert (row[Field.REQUESTS], row[Field.REFUSED], row[Field.IN_FLIGHT]) == (2, 2, 0)
    statuses = [row[field] for field in range(Field.STATUS_1XX, Field.STATUS_5XX + 1)]
    assert statuses == [0, 1, 0, 2, 1]
    assert sum(row.words[DURATION_WORDS]) == 2


def test_the_metric_of_requests_shows_what_clients_saw() -> None:
    board = Scoreboard.create(1)
    counts = Counts(board.row(0))
    counts.request_begun()
    counts.request_ended(0, 0.25)
    counts.request_refused(431)
    counts.connection_refused()
    counts.websocket_throttled()
    values = {family.shown_name: family.series for family in of_scoreboard(board)}
    board.close()
    by_status = {
        dict(key)["status"]: value for key, value in values["tercio_requests_total"].items()
    }
    assert {status: value for status, value in by_status.items() if value} == {"4xx": 1, "none": 1}
    for name in ("requests_refused", "connections_refused", "websockets_throttled"):
        assert values[f"tercio_{name}_total"] == {(): 1}
