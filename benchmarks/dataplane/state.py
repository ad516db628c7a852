"""One round of one store: what an operation costs, and how long it takes."""

import asyncio
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataplane.board import Board, Phase
from benchmarks.dataplane.bus import WARM_UP, memory_directory, report
from benchmarks.dataplane.peers import SPAWN
from benchmarks.dataplane.processes import cpu_ns
from benchmarks.dataplane.stores import Store

KEYS = [f"bench:{number}" for number in range(1000)]
COUNTERS = KEYS[:100]


@dataclass(frozen=True)
class Task:
    """What each process does, one operation after the other."""

    operation: str
    """get, set or incr."""
    processes: int = 4
    tasks: int = 1
    """At a time in each process."""


@dataclass(frozen=True)
class Round:
    """What one round showed."""

    operations: int
    seconds: float
    cpu: int
    """Nanoseconds of all processes."""
    server_cpu: int
    waits: tuple[int, ...]
    """Nanoseconds of each operation, sorted."""
    error: str = ""

    @property
    def cost(self) -> float:
        """Microseconds of CPU time an operation."""
        return self.cpu / 1e3 / max(1, self.operations)

    @property
    def server_cost(self) -> float:
        return self.server_cpu / 1e3 / max(1, self.operations)

    @property
    def rate(self) -> float:
        return self.operations / self.seconds

    def wait(self, share: float) -> float:
        """Microseconds within which ``share`` of the operations were done."""
        return self.waits[int(len(self.waits) * share)] / 1e3 if self.waits else 0.0


def run(store: Store, task: Task, me: int, board: Path) -> None:
    """The whole of a process."""
    import uvloop

    uvloop.run(take_part(store, task, me, Board(board, task.processes)))
    os._exit(0)


async def take_part(store: Store, task: Task, me: int, board: Board) -> None:
    """Operate until the board says that it is over; leave a file with the waits."""
    words, done_at = board.words, board.sent_at(me)
    await store.open()
    if me == 0:
        for key in KEYS if task.operation == "get" else ():
            await store.set(key)
    operate: Callable[[str], object] = getattr(store, task.operation)
    keys = COUNTERS if task.operation == "incr" else KEYS
    waits: list[int] = []
    done = 0
    gc.freeze()
    board.ready(me)
    while board.phase is Phase.WAIT:
        await asyncio.sleep(0.002)

    async def work(seed: int) -> None:
        nonlocal done
        order = random.Random(seed).choices(keys, k=1 << 12)
        now = time.perf_counter_ns
        while words[0] < Phase.STOP:
            for number in range(64):
                begun = now()
                await operate(order[(done + number) & 4095])  # type: ignore[misc]
                waits.append(now() - begun)
                done += 1
                words[done_at] = done
            await asyncio.sleep(0)  # what ends at once gives way to others now and then

    async with asyncio.TaskGroup() as group:
        for number in range(task.tasks):
            group.create_task(work(me * 100 + number))
    waits.sort()
    told = {"waits": waits[:: max(1, len(waits) // 5000)], "done": [done]}
    if task.operation == "incr":
        board.words[board.received_at(me)] = 1  # all of ours are done
        while sum(board.received(each, 0) for each in range(task.processes)) < task.processes:
            await asyncio.sleep(0.002)
        if me == 0:  # adding nothing would be another operation on some
            totals = [await store.incr(key) - 1 for key in COUNTERS]
            told["total"] = [sum(totals)]
    board.path.with_name(f"process-{me}.json").write_text(json.dumps(told))


def measure(make: Callable[[], Store], task: Task, seconds: float) -> Round:
    prefix = "tercio-bench-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory_directory()) as directory:
        board = Board.create(Path(directory) / "board", task.processes)
        store = make()
        store.prepare(Path(directory))
        started = [
            SPAWN.Process(target=run, args=(store, task, number, board.path), daemon=True)
            for number in range(task.processes)
        ]
        try:
            for each in started:
                each.start()
            return _measure(task, board, [each.pid or 0 for each in started], store, seconds)
        except TimeoutError as error:
            return Round(0, 1.0, 0, 0, (), str(error))
        finally:
            for each in started:
                each.kill()
                each.join()
            store.close()


def _measure(task: Task, board: Board, pids: list[int], store: Store, seconds: float) -> Round:
    everybody = range(task.processes)
    board.wait_until_ready()
    board.phase = Phase.WARM
    time.sleep(WARM_UP)
    before, cpu, server_cpu = sum(map(board.sent, everybody)), cpu_ns(pids), cpu_ns(store.servers())
    begun = time.monotonic()
    board.phase = Phase.MEASURE
    time.sleep(seconds)
    took, done = time.monotonic() - begun, sum(map(board.sent, everybody)) - before
    server_cpu = cpu_ns(store.servers()) - server_cpu
    cpu = cpu_ns(pids) - cpu + server_cpu
    board.phase = Phase.STOP
    reports = [report(board, number) for number in everybody]
    error = ""
    if task.operation == "incr":
        stored, acknowledged = reports[0]["total"][0], sum(each["done"][0] for each in reports)
        if stored != acknowledged:
            error = f"{stored} were stored of {acknowledged}"
    waits = sorted(wait for each in reports for wait in each["waits"])
    return Round(done, took, cpu, server_cpu, tuple(waits), error)
