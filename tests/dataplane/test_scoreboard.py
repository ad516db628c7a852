"""The scoreboard with real processes: what a dead worker counted is neither lost nor doubled."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tercio.dataplane.scoreboard import COUNTERS, Field, Scoreboard
from tercio.dataplane.segment import Segment


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    scoreboard = Scoreboard.create(4)
    yield scoreboard
    scoreboard.close()


def test_a_count_is_seen_by_another_process(board: Scoreboard) -> None:
    code = (
        "import sys; from tercio.dataplane.scoreboard import *\n"
        "row = Scoreboard.attach(int(sys.argv[1])).row(2)\n"
        "row[Field.REQUESTS] += 5"
    )
    command = [sys.executable, "-c", code, str(board.descriptor)]
    subprocess.run(command, pass_fds=[board.descriptor], check=True)
    assert board.row(2)[Field.REQUESTS] == 5
    assert board.totals()[Field.REQUESTS] == 5


def test_a_fold_keeps_totals_and_clears_the_row(board: Scoreboard) -> None:
    board.row(1)[Field.REQUESTS] = 7
    board.row(1)[Field.IN_FLIGHT] = 3
    board.row(0)[Field.REQUESTS] = 2
    board.fold(1)
    assert board.totals()[Field.REQUESTS] == 9
    assert [board.row(1)[field] for field in Field] == [0] * len(Field)
    board.row(1)[Field.REQUESTS] += 1  # the next holder of the seat
    assert board.totals()[Field.REQUESTS] == 10


def test_gauges_are_not_folded(board: Scoreboard) -> None:
    assert Field.IN_FLIGHT not in COUNTERS
    assert Field.LOOP_BEAT not in COUNTERS


def test_totals_never_fall_and_stay_exact_while_writers_are_killed(board: Scoreboard) -> None:
    """A writer counts as fast as it can and says what it has counted; it is killed anywhere."""
    code = (
        "import os, sys; from tercio.dataplane.scoreboard import *\n"
        "words = Scoreboard.attach(int(sys.argv[1])).row(0).words\n"
        "os.write(1, b'.')\n"
        "while True: words[Field.REQUESTS] += 1"
    )
    command = [sys.executable, "-c", code, str(board.descriptor)]
    seen = 0
    for _ in range(5):
        with subprocess.Popen(
            command, pass_fds=[board.descriptor], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.read(1) == b"."
            for _ in range(2000):
                total = board.totals()[Field.REQUESTS]
                assert total >= seen
                seen = total
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        before = board.totals()[Field.REQUESTS]
        board.fold(0)
        assert board.totals()[Field.REQUESTS] == before
        seen = before


def test_a_reader_never_sees_half_a_fold(board: Scoreboard) -> None:
    """Another process reads totals all the time while this one counts and folds."""
    code = (
        "import os, sys; from tercio.dataplane.scoreboard import *\n"
        "board = Scoreboard.attach(int(sys.argv[1])); last = 0\n"
        "os.write(1, b'.')\n"
        "while not board.row(3)[Field.PID]:\n"
        "    total = board.totals()[Field.REQUESTS]\n"
        "    if total < last or total % 1000: os.write(1, b'!'); break\n"
        "    last = total\n"
        "os.write(1, b'=')"
    )
    command = [sys.executable, "-c", code, str(board.descriptor)]
    with subprocess.Popen(command, pass_fds=[board.descriptor], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.read(1) == b"."
        for turn in range(1000):
            board.row(turn % 3)[Field.REQUESTS] += 1000
            board.fold(turn % 3)
            for _ in range(20):
                board.totals()  # a window in which the reader can finish a look
        board.row(3)[Field.PID] = 1
        assert reader.stdout.read() == b"="


def test_another_layout_is_refused() -> None:
    with Segment.create("test", 4096) as segment, pytest.raises(ValueError, match="layout"):
        Scoreboard(segment)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_the_size_of_a_segment_is_sealed() -> None:
    with Segment.create("test", 4096) as segment, pytest.raises(PermissionError):
        os.ftruncate(segment.descriptor, 8)


def test_memory_that_cannot_be_had_is_a_clear_error() -> None:
    # A limit on the size of files stands in for a machine that is full.
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from tercio.dataplane.segment import Segment\n"
        "from tercio.errors import CouldNotStart\n"
        "try: Segment.create('test', 1 << 20)\n"
        "except CouldNotStart as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert b"cannot allocate 1048576 bytes of shared memory for test" in answer.stdout
