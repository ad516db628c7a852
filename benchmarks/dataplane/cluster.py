"""A real cluster as a way to publish: `tercio run`, and what its primary does meanwhile."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dataplane import app
from benchmarks.dataplane.board import Board
from benchmarks.dataplane.bus import Crew
from benchmarks.dataplane.worker import Load

ROOT = Path(__file__).parents[2]


@contextmanager
def in_cluster(load: Load, board: Board) -> Iterator[Crew]:
    """Workers of a cluster with default options."""
    directory = board.path.parent
    environment = {
        **os.environ,
        "TERCIO_ALLOW_ROOT": "1",
        "PYTHONPATH": str(ROOT),
        app.BOARD: str(board.path),
        app.LOAD: json.dumps(dataclasses.asdict(load)),
    }
    command = [Path(sys.executable).with_name("tercio"), "run", f"{app.__name__}:app", "--port"]
    command += ["0", "--workers", str(load.processes), "--runtime-dir", directory / "run"]
    with (directory / "log").open("wb") as log:
        primary = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        try:
            board.wait_until_ready()
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {(directory / 'log').read_text()[-500:]}") from error
        pids = [
            [int(pid) for pid in (directory / f"pids-{number}").read_text().split()]
            for number in range(load.processes)
        ]
        yield Crew([worker for worker, _ in pids], list({parent for _, parent in pids}))
    finally:
        primary.send_signal(signal.SIGTERM)
        try:
            primary.wait(15)
        except subprocess.TimeoutExpired:
            primary.kill()
            primary.wait()
