"""One of three consumers is stopped in a flood: who pays for it, and who knows what was lost?"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataplane.board import Board, Phase
from benchmarks.dataplane.bus import Way, memory_directory, report
from benchmarks.dataplane.processes import anonymous
from benchmarks.dataplane.worker import Load

LOAD = Load(10_000, rate=5000, healthy=2)
STOPPED = LOAD.processes - 1
SECONDS = 2.5


@dataclass(frozen=True)
class Outcome:
    """What happened while it was stopped."""

    published: int
    """A second."""
    others: float
    """Share of it that each of the others got."""
    growth: int
    """Bytes that the publisher grew by."""
    server_growth: int
    """Bytes that a server or a primary grew by."""
    never_came: int
    """Messages that the stopped one did not get, of all, when it went on."""
    counted: int | None
    """How many it knows of; None if it counts none."""


def measure(way: Way) -> Outcome:
    prefix = "tercio-bench-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory_directory()) as directory:
        board = Board.create(Path(directory) / "board", LOAD.processes)
        with way(LOAD, board) as crew:
            board.wait_until_ready()
            board.phase = Phase.WARM
            time.sleep(1.0)
            board.phase = Phase.MEASURE
            publisher, server = crew.workers[0], crew.servers[:1]
            with _stopped(crew.workers[STOPPED]):
                # What waited already is in the figures of the others before the first look.
                sent, others = board.sent(0), _others(board)
                own, theirs = anonymous(publisher), sum(map(anonymous, server))
                begun = time.monotonic()
                time.sleep(SECONDS)
                published, got = board.sent(0) - sent, _others(board) - others
                took = time.monotonic() - begun
                own = anonymous(publisher) - own
                theirs = sum(map(anonymous, server)) - theirs
            board.phase = Phase.STOP
            _settle(board)
            missing = board.sent(0) - board.received(STOPPED, 0)
            board.phase = Phase.END
            counted = report(board, STOPPED)["told"].get("lost")
    return Outcome(
        round(published / took), got / 2 / max(1, published), own, theirs, missing, counted
    )


def _others(board: Board) -> int:
    return board.received(1, 0) + board.received(2, 0)


def _settle(board: Board) -> None:
    """Until nothing more comes."""
    before = -1
    while (now := board.delivered()) != before:
        before = now
        time.sleep(0.3)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
