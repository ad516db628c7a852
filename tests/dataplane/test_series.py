"""Metrics in shared memory: exact whoever dies, at whichever store, and within their bounds."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest

from tercio.dataplane import series as series_module
from tercio.dataplane.directory import Directory, Writer
from tercio.dataplane.families import Declaration, Distribution
from tercio.dataplane.region import Region
from tercio.dataplane.series import SeriesBoard

ORDERS = Declaration("counter", "orders", "Orders", ("kind",))
LATENCY = Declaration("histogram", "latency", bounds=(0.1, 1.0))


@pytest.fixture
def board() -> Iterator[SeriesBoard]:
    made = SeriesBoard.create(4)
    yield made
    made.close()


def hold(board: SeriesBoard, seat: int) -> Writer:
    return board.writer(seat, 1000 + seat)


def count(writer: Writer, kind: str, number: float, declaration: Declaration = ORDERS) -> None:
    place = writer.add(declaration, (kind,), 0.0)
    assert place is not None
    writer.cells[place] += number


def orders(board: SeriesBoard) -> dict[str, float]:
    family = board.read().families.get("orders")
    if family is None:
        return {}
    values = {labels[0][1]: value for labels, value in family.series.items()}
    assert all(isinstance(value, float) for value in values.values())
    return values  # type: ignore[return-value]


def test_another_process_sees_what_is_counted(board: SeriesBoard) -> None:
    code = (
        "import sys; from tercio.dataplane.series import *\n"
        "from tercio.dataplane.families import Declaration\n"
        "writer = SeriesBoard.attach(int(sys.argv[1])).writer(2, 7)\n"
        "place = writer.add(Declaration('counter', 'orders', 'Orders', ('kind',)), ['book'], 0.0)\n"
        "writer.cells[place] += 5"
    )
    command = [sys.executable, "-c", code, str(board.descriptor)]
    subprocess.run(command, pass_fds=[board.descriptor], check=True)
    assert orders(board) == {"book": 5.0}


def test_series_of_one_name_and_labels_add_up_over_processes_living_and_dead(
    board: SeriesBoard,
) -> None:
    for seat in range(3):
        writer = hold(board, seat)
        count(writer, "book", seat + 1)
        count(writer, "pen", 10)
    board.fold(1)
    assert orders(board) == {"book": 6.0, "pen": 30.0}
    count(hold(board, 1), "book", 100)  # the next process in that seat
    assert orders(board) == {"book": 106.0, "pen": 30.0}


def test_a_writer_that_dies_at_any_store_leaves_a_whole_entry_or_none(board: SeriesBoard) -> None:
    stores = 0
    for dies_after in range(100):
        region = Region(memoryview(bytearray(4096)))
        assert region.add(ORDERS.to_payload()) is not None
        steps = region.stores(b'[0, "book"]', 1, 0.0)
        stores = sum(1 for _ in islice(steps, dies_after))
        directory = Directory(region)
        assert directory.update() == 0, "nothing is torn"
        assert len(directory.series) in (0, 1)
        if stores < dies_after:  # it came to its end
            assert len(directory.series) == 1
            break
        assert directory.series == []
    assert stores == 4


def test_a_reader_at_any_store_of_a_fold_waits_or_sees_every_count_once(
    board: SeriesBoard,
) -> None:
    for seat in (0, 1):
        writer = hold(board, seat)
        for kind in ("book", "pen"):
            count(writer, kind, 7)
    seen = 0
    reader = SeriesBoard.attach(os.dup(board.descriptor))
    try:
        for _ in board.fold_stores(1):
            if reader.is_folding:
                continue  # `read` would wait for the end
            assert orders(reader) == {"book": 14.0, "pen": 14.0}
            seen += 1
        assert seen == 1
        assert orders(board) == orders(reader) == {"book": 14.0, "pen": 14.0}
    finally:
        reader.close()


def test_a_fold_that_never_ends_is_an_error_and_no_number(
    board: SeriesBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_module, "_FOLD_WAIT", 0.05)
    count(hold(board, 0), "book", 1)
    steps = board.fold_stores(0)
    next(steps)
    with pytest.raises(TimeoutError, match="did the primary die"):
        board.read()
    list(steps)
    assert orders(board) == {"book": 1.0}


WRITER = """
import os, sys
from tercio.dataplane.series import *
from tercio.dataplane.families import Declaration
board = SeriesBoard.attach(int(sys.argv[1]))
writer = board.writer(int(sys.argv[2]), os.getpid())
orders = Declaration("counter", "orders", "Orders", ("kind",))
known = {}
number = 0
print(flush=True)
while True:
    kind = str(number % 300)
    if kind not in known:
        known[kind] = writer.add(orders, (kind,), 0.0)
    writer.cells[known[kind]] += 1
    number += 1
"""


def test_totals_never_fall_while_writers_are_killed_at_any_moment(board: SeriesBoard) -> None:
    draw = random.Random(4)
    before = 0.0
    for _ in range(8):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(board.descriptor), str(seat)],
                pass_fds=[board.descriptor],
                stdout=subprocess.PIPE,
            )
            for seat in (0, 1)
        ]
        try:
            for process in writers:
                assert process.stdout is not None
                process.stdout.readline()
            for _ in range(draw.randrange(1, 40)):
                total = sum(orders(board).values())
                assert total >= before
                before = total
        finally:
            for process in writers:
                process.kill()
                process.communicate()
        held = sum(orders(board).values())
        assert held >= before
        for seat in range(len(writers)):
            board.fold(seat)
            assert sum(orders(board).values()) == held
        before = held
    assert before > 0
    assert board.read().torn == 0


def test_gauges_end_with_their_process_unless_their_mode_keeps_them(board: SeriesBoard) -> None:
    for seat, value in ((0, 3.0), (1, 5.0)):
        writer = hold(board, seat)
        for mode in ("livesum", "livemin", "livemax", "sum", "min", "max", "all"):
            place = writer.add(Declaration("gauge", mode, mode=mode), (), value)
            assert place is not None
        place = writer.add(Declaration("gauge", "last", mode="livemostrecent"), (), value)
        assert place is not None
        writer.cells[place + 1] = 100 + seat

    def values() -> dict[str, object]:
        families = board.read().families
        return {
            name: family.series.get((), len(family.series)) for name, family in families.items()
        }

    both = {"livesum": 8, "livemin": 3, "livemax": 5, "sum": 8, "min": 3, "max": 5, "all": 2}
    assert values() == {**both, "last": 5}
    board.fold(1)
    kept = {"sum": 8, "min": 3, "max": 5, "all": 1}
    assert values() == {"livesum": 3, "livemin": 3, "livemax": 3, "last": 3, **kept}
    board.fold(0)
    assert values() == {"sum": 8, "min": 3, "max": 5}


def test_a_gauge_that_was_never_set_says_nothing(board: SeriesBoard) -> None:
    lowest = Declaration("gauge", "lowest", mode="livemin")
    hold(board, 0).add(lowest, (), float("nan"))
    assert board.read().families["lowest"].series == {}
    hold(board, 1).add(lowest, (), 4.0)
    assert board.read().families["lowest"].series == {(): 4.0}


def test_histograms_with_other_bounds_keep_their_count_and_sum(board: SeriesBoard) -> None:
    for seat, bounds in enumerate(((0.1, 1.0), (0.5,))):
        writer = hold(board, seat)
        declaration = Declaration("histogram", "latency", bounds=bounds)
        place = writer.add(declaration, (), 0.0)
        assert place is not None
        for offset in range(len(bounds) + 1):
            writer.cells[place + offset] = 1
        writer.cells[place + len(bounds) + 1] = 2.5
        board.fold(seat)
    found = board.read().families["latency"].series[()]
    assert isinstance(found, Distribution)
    assert (found.count, found.sum) == (5, 5.0)
    assert found.cumulative() == [(0.1, 1), (0.5, 2), (1.0, 3), (float("inf"), 5)]


def test_a_name_that_means_two_things_is_left_out_once_and_counted(board: SeriesBoard) -> None:
    count(hold(board, 0), "book", 3)
    hold(board, 1).add(Declaration("gauge", "orders", mode="livesum"), (), 9.0)
    reading = board.read()
    assert reading.families["orders"].kind == "counter"
    assert reading.dropped == 1


def test_what_a_broken_process_leaves_is_skipped_and_counted(board: SeriesBoard) -> None:
    count(hold(board, 0), "book", 3)
    draw = random.Random(9)
    region = Region(board.memory_of(1))
    for payload in (b"", b"{}", b"[7]", b'["metric", 1]', b"\xff\xfe", b"[0]", b"[" * 5000):
        region.add(payload, 1)
    assert board.read().torn == 7
    assert orders(board) == {"book": 3.0}
    memory = board.memory_of(1)
    for _ in range(200):
        memory[draw.randrange(0, 4096)] = draw.randrange(256)
        board.read()
    board.fold(1)
    assert orders(board) == {"book": 3.0}
    assert board.read().torn == 0


def test_counts_that_are_none_never_lower_a_total(board: SeriesBoard) -> None:
    for seat, bad in enumerate((float("nan"), -5.0, float("inf"))):
        writer = hold(board, seat)
        place = writer.add(ORDERS, ("book",), bad)
        assert place is not None
    count(hold(board, 3), "book", 2)
    assert orders(board) == {"book": 2.0}
    board.fold(0)
    board.fold(1)
    assert orders(board) == {"book": 2.0}


def test_series_without_end_fill_one_region_and_are_counted(board: SeriesBoard) -> None:
    writer = hold(board, 0)
    taken = 0
    while writer.add(ORDERS, (f"user {taken}",), 1.0) is not None:
        taken += 1
        assert taken < 100_000
    assert taken > 5_000
    assert writer.add(ORDERS, ("one more",), 1.0) is None
    reading = board.read()
    assert reading.dropped == 2
    assert len(reading.families["orders"].series) == taken
    count(hold(board, 1), "book", 1)  # another process has its own room
    assert orders(board)["book"] == 1


def test_the_accumulator_holds_the_same_series_once_however_many_die(board: SeriesBoard) -> None:
    for _ in range(50):
        writer = hold(board, 0)
        for kind in range(20):
            count(writer, str(kind), 1)
        place = writer.add(LATENCY, (), 0.0)
        assert place is not None
        writer.cells[place] += 1
        board.fold(0)
    reading = board.read()
    assert set(orders(board).values()) == {50.0}
    assert len(reading.families["orders"].series) == 20
    assert reading.dropped == 0
    assert board.kept == 21


def test_a_fork_shares_nothing_with_a_private_board() -> None:
    private = SeriesBoard.private()
    count(private.writer(0, os.getpid()), "book", 1)
    child = os.fork()
    if child == 0:
        place = private.read().families["orders"]
        os._exit(0 if place.series else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert orders(private) == {"book": 1.0}
