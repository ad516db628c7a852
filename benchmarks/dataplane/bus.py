"""One round of one way to publish: what a delivered message costs, and how long it takes."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.dataplane import worker
from benchmarks.dataplane.board import Board, Phase
from benchmarks.dataplane.peers import SPAWN, Peer
from benchmarks.dataplane.processes import cpu_ns
from benchmarks.dataplane.worker import Load

WARM_UP = 0.25


@dataclass(frozen=True)
class Crew:
    """The processes of a run."""

    workers: list[int]
    servers: list[int]
    """What stands between them: a server, a primary."""


Way = Callable[[Load, Board], AbstractContextManager[Crew]]
"""Start the processes that publish in one way, and end them."""


@dataclass(frozen=True)
class Round:
    """What one round showed."""

    delivered: int
    seconds: float
    cpu: int
    """Nanoseconds of all processes."""
    server_cpu: int
    """Of those, what a server or a primary took."""
    waits: tuple[int, ...] = ()
    """Nanoseconds from the call to publish until the callback, sorted."""
    error: str = ""

    @property
    def cost(self) -> float:
        """Microseconds of CPU time a delivered message."""
        return self.cpu / 1e3 / max(1, self.delivered)

    @property
    def rate(self) -> float:
        return self.delivered / self.seconds

    @property
    def server_cost(self) -> float:
        return self.server_cpu / 1e3 / max(1, self.delivered)

    def wait(self, share: float) -> float:
        """Microseconds within which ``share`` of the messages came."""
        return self.waits[int(len(self.waits) * share)] / 1e3 if self.waits else 0.0


@contextmanager
def in_python(make: Callable[[], Peer], load: Load, board: Board) -> Iterator[Crew]:
    """Processes of Python that were spawned, as all peers but Node have them."""
    peer = make()
    peer.prepare(load.processes, board.path.parent)
    started = [
        SPAWN.Process(target=worker.run, args=(peer, load, number, board.path), daemon=True)
        for number in range(load.processes)
    ]
    try:
        for each in started:
            each.start()
        yield Crew([each.pid or 0 for each in started], peer.servers())
    finally:
        for each in started:
            if each.pid is not None:
                each.join(2)
                each.kill()
                each.join()
        peer.close()


@contextmanager
def in_node(serialization: str, load: Load, board: Board) -> Iterator[Crew]:
    """Node's own cluster."""
    mode = "all" if load.all_publish else "one"
    arguments = [load.processes, load.size, serialization, mode, load.batch, load.window]
    script = Path(__file__).with_name("relay.js")
    command = ["node", str(script), str(board.path), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as primary:
        try:
            assert primary.stdout is not None
            pids = [int(pid) for pid in primary.stdout.readline().split()]
            yield Crew(pids, [primary.pid])
        finally:
            primary.kill()  # its workers end with their channel


def measure(way: Way, load: Load, seconds: float) -> Round:
    with tempfile.TemporaryDirectory(prefix="tercio-bench-", dir=memory_directory()) as directory:
        board = Board.create(Path(directory) / "board", load.processes)
        try:
            with way(load, board) as crew:
                try:
                    return _measure(load, board, crew, seconds)
                finally:
                    board.phase = Phase.END
        except TimeoutError as error:
            return Round(0, 1.0, 0, 0, error=str(error))


def _measure(load: Load, board: Board, crew: Crew, seconds: float) -> Round:
    board.wait_until_ready()
    board.phase = Phase.WARM
    time.sleep(WARM_UP)
    before, workers, servers = board.delivered(), cpu_ns(crew.workers), cpu_ns(crew.servers)
    begun = time.monotonic()
    board.phase = Phase.MEASURE
    time.sleep(seconds)
    took, delivered = time.monotonic() - begun, board.delivered() - before
    server_cpu = cpu_ns(crew.servers) - servers
    cpu = cpu_ns(crew.workers) - workers + server_cpu
    board.phase = Phase.STOP
    error = _missing(board)
    board.phase = Phase.END
    waits: list[int] = []
    if load.rate:
        for number in range(1, load.processes):
            waits += report(board, number)["waits"]
    if not delivered:
        error = "nothing was delivered"
    return Round(delivered, took, cpu, server_cpu, tuple(sorted(waits)), error)


def _missing(board: Board, limit: float = 10.0) -> str:
    """Every message of every peer comes: a peer that is fast because it loses some is void."""
    end = time.monotonic() + limit
    last = None
    while missing := board.missing():
        if missing != last:
            last, end = missing, time.monotonic() + limit
        if time.monotonic() > end:
            return f"{missing} messages did not come"
        time.sleep(0.02)
    return ""


def report(board: Board, number: int) -> dict[str, Any]:
    """What a process left at its end."""
    path = board.path.with_name(f"process-{number}.json")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            report: dict[str, Any] = json.loads(path.read_text())
            return report
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.02)
    raise TimeoutError(f"process {number} left no report")


def memory_directory() -> str | None:
    """A directory in memory, where there is one: Node writes its counts as to a file."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
